import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/** Produces to partition 0 unless told otherwise, and keeps the outcomes in the order of sending. */
final class Writer implements AutoCloseable {
    final KafkaProducer<String, String> producer;
    private final String topic;
    private List<Future<RecordMetadata>> sent = new ArrayList<>();

    Writer(String bootstrap, String topic, Map<String, Object> config) {
        this.topic = topic;
        int patience = (int) Cluster.PATIENCE.toMillis();
        Map<String, Object> all = new HashMap<>(Map.of(
                "bootstrap.servers", bootstrap,
                "linger.ms", 5,
                "max.block.ms", patience,
                "request.timeout.ms", patience / 2,
                "delivery.timeout.ms", patience));
        all.putAll(config);
        producer = new KafkaProducer<>(all, new StringSerializer(), new StringSerializer());
    }

    /** Queues one record; nothing is waited for. */
    void send(ProducerRecord<String, String> record) {
        sent.add(producer.send(record));
    }

    void send(String value) {
        send(record(value));
    }

    /** A record whose header `name` is `header`. */
    void sendWith(String name, Object header, String value) {
        ProducerRecord<String, String> record = record(value);
        record.headers().add(name, header.toString().getBytes());
        send(record);
    }

    ProducerRecord<String, String> record(String value) {
        return new ProducerRecord<>(topic, 0, null, value);
    }

    /** The offsets of everything sent since the last call; the first error is thrown as the client gave it. */
    List<Long> offsets() throws Exception {
        producer.flush();
        List<Future<RecordMetadata>> all = sent;
        sent = new ArrayList<>();
        List<Long> offsets = new ArrayList<>();
        for (Future<RecordMetadata> one : all) {
            try {
                offsets.add(one.get().offset());
            } catch (ExecutionException e) {
                throw (Exception) e.getCause();
            }
        }
        return offsets;
    }

    /** A metric of the producer, of those that have no tag but the client's id. */
    double metric(String name) {
        return producer.metrics().entrySet().stream()
                .filter(m -> m.getKey().name().equals(name) && m.getKey().group().equals("producer-metrics"))
                .mapToDouble(m -> ((Number) m.getValue().metricValue()).doubleValue())
                .findFirst()
                .orElseThrow();
    }

    @Override
    public void close() {
        producer.close(Duration.ofSeconds(1));
    }
}
