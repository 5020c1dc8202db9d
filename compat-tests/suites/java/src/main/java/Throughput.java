import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import java.util.zip.CRC32C;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * How fast the default producer writes and a consumer reads, and whether what was read is what was written:
 * `Throughput BOOTSTRAP TOPIC RECORDS SIZE`, on a topic that is empty or does not exist.
 */
public final class Throughput {
    /** A consumer that gets nothing for this long gives up. */
    private static final Duration SILENCE_MAX = Duration.ofSeconds(30);

    private Throughput() {}

    /** How many values, and the sum of their checksums: the order between partitions does not matter. */
    private record Tally(long count, long checksum) {
        static final Tally NONE = new Tally(0, 0);

        Tally with(byte[] value) {
            CRC32C crc = new CRC32C();
            crc.update(value);
            return new Tally(count + 1, checksum + crc.getValue());
        }
    }

    public static void main(String[] args) throws Exception {
        if (args.length != 4) {
            System.err.println("Throughput BOOTSTRAP TOPIC RECORDS SIZE");
            System.exit(2);
        }
        String topic = args[1];
        int records = Integer.parseInt(args[2]);
        int size = Integer.parseInt(args[3]);
        double megabytes = (double) records * size / 1e6;

        long started = System.nanoTime();
        Tally produced = produce(args[0], topic, records, size);
        double producedPerSecond = megabytes / secondsSince(started);
        started = System.nanoTime();
        Tally fetched = fetch(args[0], topic, records);
        double fetchedPerSecond = megabytes / secondsSince(started);

        boolean equal = produced.equals(fetched);
        System.out.printf("produced %.1f MB/s, fetched %.1f MB/s, count %d of %d, checksum %s%n",
                producedPerSecond, fetchedPerSecond, fetched.count(), records, equal ? "equal" : "differs");
        System.exit(equal ? 0 : 1);
    }

    private static Tally produce(String bootstrap, String topic, int records, int size) throws Exception {
        Map<String, Object> config =
                Map.of("bootstrap.servers", bootstrap, "acks", "all", "linger.ms", 5, "batch.size", 64 * 1024);
        AtomicReference<Exception> refused = new AtomicReference<>();
        Tally tally = Tally.NONE;
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < records && refused.get() == null; i++) {
                byte[] value = value(i, size);
                tally = tally.with(value);
                producer.send(new ProducerRecord<>(topic, value), (metadata, error) -> {
                    if (error != null) {
                        refused.compareAndSet(null, error);
                    }
                });
            }
            producer.flush();
        }
        if (refused.get() != null) {
            throw refused.get();
        }
        return tally;
    }

    private static Tally fetch(String bootstrap, String topic, int records) {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", false);
        Tally tally = Tally.NONE;
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(p -> new TopicPartition(topic, p.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long heard = System.nanoTime();
            // To the ends, not to the count: a doubled record must be seen.
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                var polled = consumer.poll(Duration.ofMillis(500));
                for (ConsumerRecord<byte[], byte[]> record : polled) {
                    tally = tally.with(record.value());
                }
                heard = polled.isEmpty() ? heard : System.nanoTime();
                if (secondsSince(heard) > SILENCE_MAX.toSeconds()) {
                    System.err.println("nothing for " + SILENCE_MAX + ", " + tally.count() + " of " + records + " records so far");
                    break;
                }
            }
        }
        return tally;
    }

    /** The value of the record at `index`: always the same, no two alike, and nothing that compresses well. */
    private static byte[] value(long index, int size) {
        ByteBuffer value = ByteBuffer.allocate(size + Long.BYTES);
        for (long word = 0; value.position() < size; word++) {
            value.putLong(mixed(index << 20 | word));
        }
        return Arrays.copyOf(value.array(), size);
    }

    /** The finalizer of SplitMix64: a bijection, so different inputs stay different. */
    private static long mixed(long bits) {
        long x = bits + 0x9e3779b97f4a7c15L;
        x = (x ^ x >>> 30) * 0xbf58476d1ce4e5b9L;
        x = (x ^ x >>> 27) * 0x94d049bb133111ebL;
        return x ^ x >>> 31;
    }

    private static double secondsSince(long nanos) {
        return (System.nanoTime() - nanos) / 1e9;
    }
}
