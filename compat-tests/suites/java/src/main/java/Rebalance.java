import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.CloseOptions.GroupMembershipOperation;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Members of one group that join, leave and die while records are written: `Rebalance BOOTSTRAP eager|cooperative|consumer SECONDS SEED
 * [spoiled]`.
 * What a member has committed is processed by nobody again, nothing is processed by two members of the same generation, no committed
 * offset goes back, and in the end every record was processed. Exit 1 where that does not hold: where it is `spoiled`, a member goes back
 * once, which has to be noticed.
 */
public final class Rebalance {
    private static final int PARTITIONS = 12;
    private static final int MEMBERS = 10;
    /** Less than Kafka's brokers allow by default: a death holds up every rebalance for so long (`group.min.session.timeout.ms`). */
    private static final int SESSION_MS = 2_000;
    private static final int SHOWN = 20;
    /** For the last members to process what is left, on a busy machine. */
    private static final Duration PATIENCE = Duration.ofSeconds(90);

    private enum End { LEAVE, DIE }

    /** Who processed a record, and what became of it. */
    private static final class Processing {
        final Worker by;
        volatile boolean committed;

        Processing(Worker by) {
            this.by = by;
        }
    }

    private record Place(int partition, long offset) {}

    private record Turn(int partition, long offset, int generation) {}

    private final String bootstrap;
    private final String protocol;
    private final Duration length;
    private final Random random;
    private final String topic;
    private final String group;
    private final Admin admin;
    private final Queue<String> violations = new ConcurrentLinkedQueue<>();
    private final Map<Turn, String> turns = new ConcurrentHashMap<>();
    private final Map<Place, Processing> processed = new ConcurrentHashMap<>();
    private final Map<Place, Integer> written = new ConcurrentHashMap<>();
    /** What a member was told is committed. */
    private final AtomicLongArray acknowledged = new AtomicLongArray(PARTITIONS);
    private final Set<Integer> generations = ConcurrentHashMap.newKeySet();
    private final AtomicInteger duplicatesByDeath = new AtomicInteger();
    private final AtomicInteger duplicatesUncommitted = new AtomicInteger();
    private final AtomicInteger refusedCommits = new AtomicInteger();
    private final AtomicBoolean spoils = new AtomicBoolean();
    private volatile boolean writing = true;
    private volatile boolean watching = true;

    private Rebalance(String bootstrap, String protocol, Duration length, long seed) {
        this.bootstrap = bootstrap;
        this.protocol = protocol;
        this.length = length;
        random = new Random(seed);
        topic = "rebalance-" + protocol + "-" + System.nanoTime();
        group = topic;
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] args) throws Exception {
        boolean spoils = args.length == 5 && args[4].equals("spoiled");
        if (args.length != 4 && !spoils || !List.of("eager", "cooperative", "consumer").contains(args[1])) {
            System.err.println("Rebalance BOOTSTRAP eager|cooperative|consumer SECONDS SEED [spoiled]");
            System.exit(2);
        }
        Duration length = Duration.ofSeconds(Long.parseLong(args[2]));
        Rebalance rebalance = new Rebalance(args[0], args[1], length, Long.parseLong(args[3]));
        rebalance.spoils.set(spoils);
        System.exit(rebalance.holds(args[3]) ? 0 : 1);
    }

    private boolean holds(String seed) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get();
        Thread writer = start("writer", this::write);
        Thread watcher = start("watcher", this::watch);
        Worker[] alive = new Worker[MEMBERS];
        List<Worker> all = new ArrayList<>();
        for (int i = 0; i < MEMBERS; i++) {
            all.add(alive[i] = new Worker(i));
        }
        int left = 0;
        int died = 0;
        long end = System.nanoTime() + length.toNanos();
        while (System.nanoTime() < end) {
            // Now and then several at once, and now and then time to settle.
            Thread.sleep(random.nextBoolean() ? random.nextInt(300) : 1_000 + random.nextInt(3_000));
            int slot = random.nextInt(MEMBERS);
            if (alive[slot] == null) {
                all.add(alive[slot] = new Worker(slot));
            } else if (random.nextInt(3) < 2) {
                alive[slot].end = End.LEAVE;
                alive[slot] = null;
                left++;
            } else {
                alive[slot].end = End.DIE;
                alive[slot] = null;
                died++;
            }
        }
        writing = false;
        writer.join();
        // Somebody has to process what is left.
        if (Stream.of(alive).allMatch(w -> w == null)) {
            all.add(alive[0] = new Worker(0));
        }
        waitForTheRest();
        for (Worker worker : alive) {
            if (worker != null) {
                worker.end = End.LEAVE;
                left++;
            }
        }
        for (Worker worker : all) {
            worker.thread.join(PATIENCE.toMillis());
            if (worker.thread.isAlive()) {
                violations.add(worker.name + " does not end");
            }
        }
        watching = false;
        watcher.join();
        written.forEach((place, number) -> {
            if (!processed.containsKey(place)) {
                violations.add("record " + number + " at " + place + " was not processed");
            }
        });
        violations.stream().limit(SHOWN).forEach(v -> System.out.println("VIOLATION " + v));
        System.out.printf(
                "%s seed %s: %d records, %d generations, %d joined, %d left, %d died, %d duplicates by death, %d after a refused commit"
                        + " (%d refused), %d violations%n",
                protocol, seed, written.size(), generations.size(), all.size(), left, died, duplicatesByDeath.get(),
                duplicatesUncommitted.get(), refusedCommits.get(), violations.size());
        admin.close(Duration.ofSeconds(1));
        return violations.isEmpty();
    }

    private Thread start(String name, Runnable what) {
        Thread thread = new Thread(() -> {
            try {
                what.run();
            } catch (RuntimeException e) {
                violations.add(name + " failed: " + e);
            }
        }, name);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    private void write() {
        try (var producer = new KafkaProducer<>(
                Map.of("bootstrap.servers", bootstrap, "linger.ms", 5), new StringSerializer(), new StringSerializer())) {
            for (int number = 0; writing; number++) {
                int numbered = number;
                producer.send(new ProducerRecord<>(topic, number % PARTITIONS, null, Integer.toString(number)), (at, error) -> {
                    if (error == null) {
                        written.put(new Place(at.partition(), at.offset()), numbered);
                    } else {
                        violations.add("record " + numbered + " was not written: " + error);
                    }
                });
                Thread.sleep(4);
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** By partition, 0 where nothing is committed. */
    private long[] committed() throws ExecutionException, InterruptedException {
        long[] offsets = new long[PARTITIONS];
        admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((partition, offset) -> {
            if (offset != null) {
                offsets[partition.partition()] = offset.offset();
            }
        });
        return offsets;
    }

    private void watch() {
        long[] last = new long[PARTITIONS];
        boolean there = false;
        while (watching) {
            long[] before = new long[PARTITIONS];
            for (int i = 0; i < PARTITIONS; i++) {
                before[i] = acknowledged.get(i);
            }
            try {
                Thread.sleep(20);
                long[] now = committed();
                there = true;
                for (int i = 0; i < PARTITIONS; i++) {
                    if (now[i] < last[i] || now[i] < before[i]) {
                        violations.add("partition " + i + " is committed to " + now[i] + ", after " + last[i]
                                + " was read and " + before[i] + " acknowledged");
                    }
                    last[i] = Math.max(last[i], now[i]);
                }
            } catch (ExecutionException e) {
                // The group is not there before its first member.
                if (there) {
                    violations.add("offsets were not told: " + e.getCause());
                }
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    private void waitForTheRest() throws Exception {
        long[] ends = new long[PARTITIONS];
        written.keySet().forEach(p -> ends[p.partition()] = Math.max(ends[p.partition()], p.offset() + 1));
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        long[] offsets = committed();
        while (!java.util.Arrays.equals(offsets, ends)) {
            if (System.nanoTime() > deadline) {
                violations.add("committed to " + java.util.Arrays.toString(offsets) + " after " + PATIENCE.toSeconds()
                        + " s, not to " + java.util.Arrays.toString(ends));
                return;
            }
            Thread.sleep(100);
            offsets = committed();
        }
    }

    private Map<String, Object> config() {
        Map<String, Object> all = new HashMap<>(Map.of(
                "bootstrap.servers", bootstrap,
                "group.id", group,
                "client.id", group,
                "enable.auto.commit", false,
                "auto.offset.reset", "earliest",
                "fetch.max.wait.ms", 100,
                "max.poll.records", 50));
        if (protocol.equals("consumer")) {
            all.put("group.protocol", "consumer");
        } else {
            Class<?> assignor = protocol.equals("eager") ? RangeAssignor.class : CooperativeStickyAssignor.class;
            all.put("partition.assignment.strategy", assignor.getName());
            all.put("session.timeout.ms", SESSION_MS);
            all.put("heartbeat.interval.ms", 500);
        }
        return all;
    }

    /** A member of the group, with its own thread. */
    private final class Worker implements ConsumerRebalanceListener {
        final String name;
        final Thread thread;
        volatile End end;
        /** It died, with what it had not committed. */
        private volatile boolean dead;
        private KafkaConsumer<String, String> consumer;
        private final Map<TopicPartition, OffsetAndMetadata> pending = new HashMap<>();
        private final Map<TopicPartition, List<Processing>> uncommitted = new HashMap<>();

        Worker(int slot) {
            name = "member " + slot + " of " + System.nanoTime();
            thread = start(name, this::live);
        }

        private void live() {
            consumer = new KafkaConsumer<>(config(), new StringDeserializer(), new StringDeserializer());
            try {
                consumer.subscribe(List.of(topic), this);
                while (end == null) {
                    step();
                }
                if (end == End.LEAVE) {
                    commit();
                }
                // A member that dies has processed what it did not commit, if there is anything.
                for (int i = 0; end == End.DIE && pending.isEmpty() && i < 10; i++) {
                    step();
                }
            } finally {
                dead = end != End.LEAVE;
                if (dead) {
                    pending.clear();
                }
                consumer.close(CloseOptions.timeout(Duration.ofSeconds(5)).withGroupMembershipOperation(
                        dead ? GroupMembershipOperation.REMAIN_IN_GROUP : GroupMembershipOperation.LEAVE_GROUP));
            }
        }

        /** Reads again what was committed, once. */
        private void spoil() {
            for (TopicPartition at : consumer.assignment()) {
                if (acknowledged.get(at.partition()) > 0 && spoils.compareAndSet(true, false)) {
                    consumer.seek(at, 0);
                }
            }
        }

        private void step() {
            if (spoils.get()) {
                spoil();
            }
            var records = consumer.poll(Duration.ofMillis(100));
            int generation = consumer.groupMetadata().generationId();
            for (ConsumerRecord<String, String> record : records) {
                process(record, generation);
            }
            if (end != End.DIE) {
                commit();
            }
        }

        private void process(ConsumerRecord<String, String> record, int generation) {
            int partition = record.partition();
            Place place = new Place(partition, record.offset());
            if (generation > 0) {
                generations.add(generation);
                String other = turns.putIfAbsent(new Turn(partition, record.offset(), generation), name);
                if (other != null && !other.equals(name)) {
                    violations.add(place + " was processed by " + other + " and " + name + " in generation " + generation);
                }
            }
            if (record.offset() < acknowledged.get(partition)) {
                violations.add(place + " is processed by " + name + " in generation " + generation + ", "
                        + acknowledged.get(partition) + " was committed");
            }
            Processing own = new Processing(this);
            Processing before = processed.put(place, own);
            if (before != null && !before.committed) {
                (before.by.end == End.DIE ? duplicatesByDeath : duplicatesUncommitted).incrementAndGet();
            }
            TopicPartition at = new TopicPartition(topic, partition);
            pending.put(at, new OffsetAndMetadata(record.offset() + 1));
            uncommitted.computeIfAbsent(at, p -> new ArrayList<>()).add(own);
        }

        /** Commits what is processed; in a rebalance it is tried again after the next poll, or when the partition is taken. */
        private void commit() {
            if (pending.isEmpty()) {
                return;
            }
            try {
                consumer.commitSync(pending);
                pending.forEach((at, offset) -> {
                    acknowledged.accumulateAndGet(at.partition(), offset.offset(), Math::max);
                    uncommitted.remove(at).forEach(p -> p.committed = true);
                });
                pending.clear();
            } catch (RebalanceInProgressException e) {
                refusedCommits.incrementAndGet();
            } catch (CommitFailedException e) {
                refusedCommits.incrementAndGet();
                pending.clear();
                uncommitted.clear();
            }
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> given) {}

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> taken) {
            if (end != End.DIE) {
                commit();
            }
            forget(taken);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> lost) {
            forget(lost);
        }

        private void forget(Collection<TopicPartition> partitions) {
            partitions.forEach(pending::remove);
            partitions.forEach(uncommitted::remove);
        }
    }
}
