import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Reads every partition of a topic from its beginning. Assigned and without a group id, so no group has to exist. */
final class Reader extends Polled {
    final List<TopicPartition> partitions;

    Reader(String bootstrap, String topic, int partitions, Map<String, Object> config) {
        super(new KafkaConsumer<>(all(bootstrap, config), new StringDeserializer(), new StringDeserializer()));
        this.partitions = IntStream.range(0, partitions).mapToObj(i -> new TopicPartition(topic, i)).toList();
        consumer.assign(this.partitions);
        consumer.seekToBeginning(this.partitions);
    }

    private static Map<String, Object> all(String bootstrap, Map<String, Object> config) {
        Map<String, Object> all = new HashMap<>(Map.of(
                "bootstrap.servers", bootstrap,
                "enable.auto.commit", false,
                "auto.offset.reset", "none",
                "fetch.max.wait.ms", 100,
                "default.api.timeout.ms", (int) Cluster.PATIENCE.toMillis()));
        all.putAll(config);
        return all;
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
}
