import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;

/** A consumer, and what its polls gave. */
abstract class Polled implements AutoCloseable {
    final KafkaConsumer<String, String> consumer;
    /** What a poll gave beyond what was asked for. */
    final Queue<Arrival> polled = new ArrayDeque<>();

    Polled(KafkaConsumer<String, String> consumer) {
        this.consumer = consumer;
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
