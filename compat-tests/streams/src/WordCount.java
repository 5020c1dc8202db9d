import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/**
 * Counts words under exactly_once_v2: {@code WordCount BOOTSTRAP STATE-DIR rocksdb|memory INPUT OUTPUT}. Every word of a line of INPUT
 * goes through a repartition topic to its count, and every new count to OUTPUT; nothing is cached, so that OUTPUT has each count once.
 */
public final class WordCount {
    private static final int THREADS = 2;

    private WordCount() {}

    public static void main(String[] args) throws InterruptedException {
        String store = "counts";
        var strings = Serdes.String();
        var counts = Materialized.<String, Long>as(
                args[2].equals("memory") ? Stores.inMemoryKeyValueStore(store) : Stores.persistentKeyValueStore(store));
        var builder = new StreamsBuilder();
        builder.stream(args[3], Consumed.with(strings, strings))
            .flatMapValues(line -> List.of(line.toLowerCase(Locale.ROOT).split(" ")))
            .groupBy((key, word) -> word, Grouped.with("words", strings, strings))
            .count(counts.withKeySerde(strings).withValueSerde(Serdes.Long()).withCachingDisabled())
            .toStream()
            .mapValues(String::valueOf)
            .to(args[4], Produced.with(strings, strings));

        var streams = new KafkaStreams(builder.build(), settings(args[0], args[1]));
        var over = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            System.out.println("replaced: " + error);
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        streams.setStateListener((now, before) -> {
            System.out.println("state " + now);
            if (now == KafkaStreams.State.ERROR) {
                over.countDown();
            }
        });
        streams.start();
        over.await();
        streams.close(Duration.ofSeconds(5));
        System.exit(1);
    }

    private static Properties settings(String bootstrap, String stateDir) {
        var settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "word-count");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, stateDir);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, THREADS);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        // Often, so that records are deleted from the repartition topic within a short run.
        settings.put(StreamsConfig.REPARTITION_PURGE_INTERVAL_MS_CONFIG, 1000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        // A process that was killed is missed after so long.
        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6000);
        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 1000);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG), 10000);
        return settings;
    }
}
