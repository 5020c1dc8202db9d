import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Reads every partition of a topic from its beginning. Assigned and without a group id, so no group has to exist. */
final class Reader implements AutoCloseable {
    final KafkaConsumer<String, String> consumer;
    final List<TopicPartition> partitions;
    /** What a poll gave beyond what was asked for. */
    private final Queue<Arrival> polled = new ArrayDeque<>();

    Reader(String bootstrap, String topic, int partitions, Map<String, Object> config) {
        Map<String, Object> all = new HashMap<>(Map.of(
                "bootstrap.servers", bootstrap,
                "enable.auto.commit", false,
                "auto.offset.reset", "none",
                "fetch.max.wait.ms", 100,
                "default.api.timeout.ms", (int) Cluster.PATIENCE.toMillis()));
        all.putAll(config);
        consumer = new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
        this.partitions = IntStream.range(0, partitions).mapToObj(i -> new TopicPartition(topic, i)).toList();
        consumer.assign(this.partitions);
        consumer.seekToBeginning(this.partitions);
    }

    /** The next `count` records. */
    List<Arrival> take(int count) {
        List<Arrival> arrivals = new ArrayList<>();
        long deadline = System.nanoTime() + Cluster.PATIENCE.toNanos();
        while (arrivals.size() < count) {
            if (polled.isEmpty()) {
                Check.that(System.nanoTime() < deadline,
                        arrivals.size() + " of " + count + " records within " + Cluster.PATIENCE.toSeconds() + " s");
                poll();
            } else {
                arrivals.add(polled.remove());
            }
        }
        return arrivals;
    }

    /** Everything up to what the broker says are the ends now. */
    List<Arrival> takeAll() {
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        long deadline = System.nanoTime() + Cluster.PATIENCE.toNanos();
        while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
            Check.that(System.nanoTime() < deadline, "no end within " + Cluster.PATIENCE.toSeconds() + " s");
            poll();
        }
        List<Arrival> arrivals = new ArrayList<>(polled);
        polled.clear();
        return arrivals;
    }

    long position() {
        return consumer.position(partitions.get(0));
    }

    long beginning() {
        return consumer.beginningOffsets(partitions).get(partitions.get(0));
    }

    long end() {
        return consumer.endOffsets(partitions).get(partitions.get(0));
    }

    /** Polls once, up to 100 ms. */
    void poll() {
        var records = consumer.poll(Duration.ofMillis(100));
        long now = System.currentTimeMillis();
        for (ConsumerRecord<String, String> record : records) {
            polled.add(new Arrival(record, now));
        }
    }

    @Override
    public void close() {
        consumer.close(CloseOptions.timeout(Duration.ofSeconds(1)));
    }
}
