import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.InvalidTxnStateException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.RetriableException;

/** Transactions: what is read of them, their offsets, and how they end. */
final class Transactions {
    /** A broker looks for transactions past their timeout every 10 s. */
    private static final Duration TIMED_OUT = Duration.ofSeconds(60);

    private Transactions() {}

    static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        all.put("a committed transaction is read once", Transactions::committed);
        all.put("an aborted transaction is never read as committed", Transactions::aborted);
        all.put("offsets in a transaction count when it commits", Transactions::offsets);
        all.put("a worker that restarts transforms each record once", Transactions::worker);
        all.put("a producer of the same transactional id fences the first", Transactions::fencing);
        all.put("a transaction past its timeout is aborted", Transactions::timeout);
        all.put("a transaction over topics is all or nothing", Transactions::allOrNothing);
        all.put("an open transaction holds back what follows", Transactions::lastStable);
        all.put("transactions interleave in a partition", Transactions::interleaved);
        all.put("a producer goes on after an abort", Transactions::goesOn);
        all.put("an empty transaction commits", Transactions::empty);
        all.put("fields and codecs inside a transaction", Transactions::fields);
        return all;
    }

    static Map<String, Scenario> own() {
        return Map.of("a transactional producer works or fails in time", Transactions::transactional);
    }

    /** A producer that is ready to begin; it writes to `topic` unless a record says otherwise. */
    private static Writer start(Cluster cluster, String topic, String id, Map<String, Object> config) {
        Map<String, Object> all = new HashMap<>(Map.of("transactional.id", id));
        all.putAll(config);
        Writer writer = cluster.writer(topic, all);
        writer.producer.initTransactions();
        return writer;
    }

    private static Writer start(Cluster cluster, String topic) {
        return start(cluster, topic, cluster.newName(), Map.of());
    }

    private static void begin(Writer writer, List<String> values) throws Exception {
        writer.producer.beginTransaction();
        values.forEach(writer::send);
        writer.offsets();
    }

    private static Reader reader(Cluster cluster, String topic, int partitions, boolean committed) {
        String level = committed ? "read_committed" : "read_uncommitted";
        return cluster.reader(topic, partitions, Map.of("isolation.level", level));
    }

    /** All that is there, in order: a record that no transaction holds is written last, and read up to. */
    private static List<Arrival> read(Cluster cluster, String topic, boolean committed, Duration patience) throws Exception {
        String end = "end " + cluster.newName();
        try (Writer writer = cluster.writer(topic); Reader reader = reader(cluster, topic, 1, committed)) {
            writer.send(end);
            writer.offsets();
            List<Arrival> found = new ArrayList<>();
            Check.waitUntil("the last record of " + topic + " is read", patience, () -> {
                reader.poll();
                found.addAll(reader.polled);
                reader.polled.clear();
                return !found.isEmpty() && found.get(found.size() - 1).value().equals(end);
            });
            return found.stream().filter(a -> !a.value().startsWith("end ")).toList();
        }
    }

    private static void reads(Cluster cluster, String topic, List<String> committed, List<String> all) throws Exception {
        Check.equalLists("read_committed", Arrival.values(read(cluster, topic, true, Cluster.PATIENCE)), committed);
        Check.equalLists("read_uncommitted", Arrival.values(read(cluster, topic, false, Cluster.PATIENCE)), all);
    }

    /** Whether an attempt fails because this producer's epoch is over. */
    private static void fenced(String what, Runnable attempt, Class<?>... besides) {
        List<Class<?>> expected = new ArrayList<>(List.of(ProducerFencedException.class, InvalidProducerEpochException.class));
        expected.addAll(List.of(besides));
        try {
            attempt.run();
        } catch (KafkaException e) {
            Throwable cause = e.getCause() == null ? e : e.getCause();
            Check.that(expected.contains(e.getClass()) || expected.contains(cause.getClass()),
                    what + " failed otherwise: " + e + ", by " + cause);
            return;
        }
        Check.that(false, what + " was not refused");
    }

    private static void committed(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        List<String> values = Produce.values(100);
        try (Writer writer = start(cluster, topic)) {
            begin(writer, values);
            writer.producer.commitTransaction();
        }
        try (Writer writer = cluster.writer(topic)) {
            writer.send("end of the first");
            Check.equalLists("offset after the marker", writer.offsets(), List.of(101L));
        }
        reads(cluster, topic, values, values);
    }

    private static void aborted(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        try (Writer writer = start(cluster, topic); Writer plain = cluster.writer(topic)) {
            plain.send("before");
            plain.offsets();
            begin(writer, List.of("one", "two"));
            writer.producer.abortTransaction();
        }
        reads(cluster, topic, List.of("before"), List.of("before", "one", "two"));
    }

    private static void offsets(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        String group = cluster.newName();
        try (Writer plain = cluster.writer(topic)) {
            Produce.values(10).forEach(plain::send);
            plain.offsets();
        }
        try (Writer writer = start(cluster, cluster.newTopic(1)); Reader nobody = cluster.reader(topic, 1, Map.of("group.id", group))) {
            begin(writer, List.of("with offsets"));
            send(writer, nobody, topic, 3);
            Check.equal("before the commit", cluster.committed(group, topic), Map.of());
            writer.producer.commitTransaction();
            counts(cluster, group, topic, 3);
            begin(writer, List.of("with offsets"));
            send(writer, nobody, topic, 7);
            writer.producer.abortTransaction();
            counts(cluster, group, topic, 3);
        }
        try (Member member = cluster.join(topic, group)) {
            Check.equalLists("offsets read", Arrival.offsets(member.take(7)), Produce.offsets(3, 10));
        }
    }

    private static void send(Writer writer, Polled consumer, String topic, long offset) {
        Map<TopicPartition, OffsetAndMetadata> offsets = Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(offset));
        writer.producer.sendOffsetsToTransaction(offsets, consumer.consumer.groupMetadata());
    }

    /** A commit is answered before all that it brings about is done. */
    private static void counts(Cluster cluster, String group, String topic, long offset) throws Exception {
        Map<Integer, OffsetAndMetadata> expected = Map.of(0, new OffsetAndMetadata(offset));
        Check.waitUntil("committed is " + offset, () -> cluster.committed(group, topic).equals(expected));
    }

    private static void worker(Cluster cluster) throws Exception {
        String input = cluster.newTopic(1);
        String output = cluster.newTopic(1);
        String group = cluster.newName();
        String id = cluster.newName();
        try (Writer plain = cluster.writer(input)) {
            Produce.values(30).forEach(plain::send);
            plain.offsets();
        }
        try (Writer writer = start(cluster, output, id, Map.of()); Member member = cluster.join(input, group)) {
            transform(writer, member, input);
            writer.producer.commitTransaction();
            transform(writer, member, input);
            // What a close without time leaves is an open transaction.
            writer.producer.close(Duration.ZERO);
        }
        try (Writer writer = start(cluster, output, id, Map.of()); Member member = cluster.join(input, group)) {
            for (int i = 0; i < 2; i++) {
                transform(writer, member, input);
                writer.producer.commitTransaction();
            }
        }
        List<String> done = Produce.values(30).stream().map(v -> "done " + v).toList();
        Check.equalLists("output", Arrival.values(read(cluster, output, true, Cluster.PATIENCE)), done);
        List<String> twice = new ArrayList<>(done.subList(0, 20));
        twice.addAll(done.subList(10, 30));
        Check.equalLists("with what was aborted", Arrival.values(read(cluster, output, false, Cluster.PATIENCE)), twice);
        counts(cluster, group, input, 30);
    }

    /** Takes ten records, writes what it makes of them, and leaves the transaction open. */
    private static void transform(Writer writer, Member member, String input) throws Exception {
        List<Arrival> found = member.take(10);
        begin(writer, found.stream().map(a -> "done " + a.value()).toList());
        send(writer, member, input, found.get(9).offset() + 1);
    }

    private static void fencing(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        try (Writer first = start(cluster, topic, topic, Map.of())) {
            begin(first, List.of("first"));
            try (Writer second = start(cluster, topic, topic, Map.of())) {
                begin(second, List.of("second"));
                second.producer.commitTransaction();
            }
            fenced("the first producer's commit", first.producer::commitTransaction);
        }
        reads(cluster, topic, List.of("second"), List.of("first", "second"));
    }

    private static void timeout(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        try (Writer writer = start(cluster, topic, topic, Map.of("transaction.timeout.ms", 1_000))) {
            begin(writer, List.of("late"));
            Check.equalLists("read_committed", Arrival.values(read(cluster, topic, true, TIMED_OUT)), List.of());
            // Kafka takes it for a second end, with another outcome, of the transaction that it has aborted.
            fenced("a commit after the timeout", writer.producer::commitTransaction, InvalidTxnStateException.class);
        }
        try (Writer writer = start(cluster, topic, topic, Map.of())) {
            begin(writer, List.of("in time"));
            writer.producer.commitTransaction();
        }
        reads(cluster, topic, List.of("in time"), List.of("late", "in time"));
    }

    private static void allOrNothing(Cluster cluster) throws Exception {
        String one = cluster.newTopic(3);
        String other = cluster.newTopic(1);
        try (Writer writer = start(cluster, one)) {
            for (String value : List.of("aborted", "committed", "aborted too")) {
                writer.producer.beginTransaction();
                for (int p = 0; p < 3; p++) {
                    writer.send(new ProducerRecord<>(one, p, null, value));
                }
                writer.send(new ProducerRecord<>(other, 0, null, value));
                writer.offsets();
                if (value.equals("committed")) {
                    writer.producer.commitTransaction();
                } else {
                    writer.producer.abortTransaction();
                }
            }
        }
        reads(cluster, other, List.of("committed"), List.of("aborted", "committed", "aborted too"));
        try (Writer plain = cluster.writer(one); Reader reader = reader(cluster, one, 3, true)) {
            for (int p = 0; p < 3; p++) {
                plain.send(new ProducerRecord<>(one, p, null, "end"));
            }
            plain.offsets();
            List<Arrival> found = reader.take(6);
            for (int p = 0; p < 3; p++) {
                int partition = p;
                List<Arrival> there = found.stream().filter(a -> a.record().partition() == partition).toList();
                Check.equalLists("partition " + p, Arrival.values(there), List.of("committed", "end"));
            }
        }
    }

    private static void lastStable(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(2);
        try (Writer writer = start(cluster, topic); Writer plain = cluster.writer(topic);
                Reader reader = reader(cluster, topic, 2, true)) {
            begin(writer, List.of("open"));
            plain.send("after");
            plain.offsets();
            reads(cluster, topic, 2);
            // The other partition's record comes by the fetches that ask for both.
            plain.send(new ProducerRecord<>(topic, 1, null, "beside"));
            plain.offsets();
            Check.equalLists("read before the end", Arrival.values(reader.take(1)), List.of("beside"));
            Check.equal("last stable offset", reader.end(), 0L);
            writer.producer.commitTransaction();
            Check.equalLists("read after the end", Arrival.values(reader.take(2)), List.of("open", "after"));
        }
    }

    private static void reads(Cluster cluster, String topic, int count) {
        try (Reader reader = reader(cluster, topic, 1, false)) {
            Check.equalLists("read_uncommitted", Arrival.offsets(reader.take(count)), Produce.offsets(0, count));
        }
    }

    private static void interleaved(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        try (Writer one = start(cluster, topic); Writer other = start(cluster, topic); Writer plain = cluster.writer(topic);
                Reader reader = reader(cluster, topic, 1, true)) {
            begin(one, List.of("one 1"));
            begin(other, List.of("other 1"));
            one.send("one 2");
            one.offsets();
            plain.send("plain");
            plain.offsets();
            other.send("other 2");
            other.offsets();
            one.producer.commitTransaction();
            Check.equalLists("before the other's end", Arrival.values(reader.take(1)), List.of("one 1"));
            other.producer.abortTransaction();
        }
        reads(cluster, topic, List.of("one 1", "one 2", "plain"), List.of("one 1", "other 1", "one 2", "plain", "other 2"));
    }

    private static void goesOn(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        try (Writer writer = start(cluster, topic)) {
            for (int i = 0; i < 3; i++) {
                begin(writer, List.of("aborted " + i));
                writer.producer.abortTransaction();
                begin(writer, List.of("committed " + i));
                writer.producer.commitTransaction();
            }
        }
        reads(cluster, topic, List.of("committed 0", "committed 1", "committed 2"),
                List.of("aborted 0", "committed 0", "aborted 1", "committed 1", "aborted 2", "committed 2"));
    }

    private static void empty(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        try (Writer writer = start(cluster, topic)) {
            writer.producer.beginTransaction();
            writer.producer.commitTransaction();
            writer.producer.beginTransaction();
            writer.producer.abortTransaction();
            writer.producer.beginTransaction();
            writer.send("first");
            Check.equalLists("offset after empty transactions", writer.offsets(), List.of(0L));
            writer.producer.commitTransaction();
        }
        reads(cluster, topic, List.of("first"), List.of("first"));
    }

    private static void fields(Cluster cluster) throws Exception {
        for (String codec : Cluster.CODECS) {
            String topic = cluster.newTopic(1);
            try (Writer writer = start(cluster, topic, topic, Map.of("compression.type", codec))) {
                for (String kind : List.of("aborted", "committed")) {
                    writer.producer.beginTransaction();
                    for (int i = 0; i < 50; i++) {
                        var record = new ProducerRecord<>(topic, 0, 1_700_000_000_000L + i, "key " + i, kind + " " + i);
                        record.headers().add("number", Integer.toString(i).getBytes());
                        writer.send(record);
                    }
                    writer.offsets();
                    if (kind.equals("committed")) {
                        writer.producer.commitTransaction();
                    } else {
                        writer.producer.abortTransaction();
                    }
                }
            }
            List<Arrival> found = read(cluster, topic, true, Cluster.PATIENCE);
            Check.equal("records with " + codec, found.size(), 50);
            for (int i = 0; i < 50; i++) {
                Arrival one = found.get(i);
                Check.equal("offset", one.offset(), 51L + i);
                Check.equal("value", one.value(), "committed " + i);
                Check.equal("key", one.record().key(), "key " + i);
                Check.equal("time", one.record().timestamp(), 1_700_000_000_000L + i);
                Check.equal("header", one.header("number"), Integer.toString(i));
            }
        }
    }

    private static void transactional(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        long started = System.nanoTime();
        try (Writer writer = cluster.writer(topic, Map.of("transactional.id", topic, "max.block.ms", 3_000))) {
            try {
                writer.producer.initTransactions();
            } catch (RetriableException e) {
                long took = (System.nanoTime() - started) / 1_000_000;
                Check.that(took < 6_000, "init took " + took + " ms to fail within 3 s");
                return;
            }
            // A broker that grants the init must keep its word.
            writer.producer.beginTransaction();
            writer.send("committed");
            writer.producer.commitTransaction();
        }
        try (Reader reader = cluster.reader(topic, 1, Map.of("isolation.level", "read_committed"))) {
            Check.equalLists("values", Arrival.values(reader.take(1)), List.of("committed"));
        }
    }
}
