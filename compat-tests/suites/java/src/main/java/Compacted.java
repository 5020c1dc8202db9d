import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Compacted topics: what is left has holes between offsets. */
final class Compacted {
    /** In round r keys from r on are written; of each but the last ones an earlier round keeps the last record. */
    private static final int ROUNDS = 4;
    private static final int KEYS = 10;
    /** Kafka's cleaner looks each 15 s. */
    private static final Duration CLEANED = Duration.ofSeconds(60);

    private Compacted() {}

    static Map<String, Scenario> scenarios() {
        return Map.of("a compacted topic reads as its last values", Compacted::lastValues);
    }

    private static void write(Cluster cluster, String topic, String codec, List<ProducerRecord<String, String>> records) throws Exception {
        try (Writer writer = cluster.writer(topic, Map.of("compression.type", codec, "linger.ms", 100))) {
            records.forEach(writer::send);
            writer.offsets();
        }
    }

    private static String value(int round, int key) {
        return "round " + round + " of k" + key;
    }

    private static List<Arrival> toTheEnd(Cluster cluster, String topic, long start) {
        try (Reader reader = cluster.reader(topic)) {
            reader.consumer.seek(reader.partitions.get(0), start);
            List<Arrival> found = reader.takeAll();
            Check.equalLists("offsets ascend", Arrival.offsets(found), Arrival.offsets(found).stream().sorted().distinct().toList());
            return found.stream().filter(a -> !a.record().key().equals("tick")).toList();
        }
    }

    private static void lastValues(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1, Map.of("cleanup.policy", "compact", "segment.ms", "100", "min.cleanable.dirty.ratio", "0.01"));
        for (int round = 0; round < ROUNDS; round++) {
            List<ProducerRecord<String, String>> records = new ArrayList<>();
            for (int key = round; key < KEYS; key++) {
                records.add(new ProducerRecord<>(topic, 0, "k" + key, value(round, key)));
            }
            write(cluster, topic, round % 2 == 0 ? "none" : "gzip", records);
        }
        List<Long> left = LongStream.concat(LongStream.of(0, 10, 19), LongStream.range(27, 34)).boxed().toList();
        Check.waitUntil("only the last record of each key is left", CLEANED, () -> {
            // A segment is closed by what is written after its time, and the last record of all stays.
            Thread.sleep(200);
            write(cluster, topic, "none", List.of(new ProducerRecord<>(topic, 0, "tick", "tick")));
            return Arrival.offsets(toTheEnd(cluster, topic, 0)).equals(left);
        });
        List<String> last = new ArrayList<>();
        for (int key = 0; key < KEYS; key++) {
            last.add(value(Math.min(key, ROUNDS - 1), key));
        }
        Check.equalLists("values", Arrival.values(toTheEnd(cluster, topic, 0)), last);
        for (long[] at : new long[][] {{1, 10}, {11, 19}, {30, 30}}) {
            Check.equal("the first offset from " + at[0] + " on", toTheEnd(cluster, topic, at[0]).get(0).offset(), at[1]);
        }
        try (Reader reader = cluster.reader(topic)) {
            Check.equal("the first offset", reader.beginning(), 0L);
        }
    }
}
