import java.util.List;
import java.util.Map;
import org.apache.kafka.common.errors.RetriableException;

/** Transactions, as far as they are there. */
final class Transactions {
    private Transactions() {}

    static Map<String, Scenario> scenarios() {
        return Map.of("a transactional producer works or fails in time", Transactions::transactional);
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
