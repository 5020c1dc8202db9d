import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.protocol.Errors;

/** Offsets: beginning, end, by time, and moved by deleting. */
final class Offsets {
    private Offsets() {}

    static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        all.put("beginning and end", Offsets::beginningAndEnd);
        all.put("offset for a time", Offsets::forTime);
        all.put("offset of the max timestamp", Offsets::ofMaxTimestamp);
        all.put("delete records", Offsets::deleteRecords);
        return all;
    }

    private static void beginningAndEnd(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        try (Reader reader = cluster.reader(topic); Writer writer = cluster.writer(topic)) {
            Check.equal("beginning when empty", reader.beginning(), 0L);
            Check.equal("end when empty", reader.end(), 0L);
            Produce.values(7).forEach(writer::send);
            writer.offsets();
            Check.equal("beginning", reader.beginning(), 0L);
            Check.equal("end after 7 records", reader.end(), 7L);
        }
    }

    private static void forTime(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        long base = System.currentTimeMillis() - 60_000;
        // One compressed batch whose times are not sorted: the broker has to look inside.
        try (Writer writer = cluster.writer(topic, Map.of("compression.type", "lz4", "linger.ms", 1_000))) {
            for (long later : List.of(100L, 300L, 200L, 400L)) {
                writer.send(new ProducerRecord<>(topic, 0, base + later, null, "value"));
            }
            writer.offsets();
        }
        record Found(long offset, long later) {}
        Map<Long, Found> expected = new LinkedHashMap<>();
        expected.put(0L, new Found(0, 100));
        expected.put(100L, new Found(0, 100));
        expected.put(150L, new Found(1, 300));
        expected.put(250L, new Found(1, 300));
        expected.put(300L, new Found(1, 300));
        expected.put(301L, new Found(3, 400));
        expected.put(400L, new Found(3, 400));
        expected.put(401L, null);
        try (Reader reader = cluster.reader(topic)) {
            expected.forEach((later, wanted) -> {
                OffsetAndTimestamp at = reader.consumer.offsetsForTimes(Map.of(partition, base + later)).get(partition);
                Found found = at == null ? null : new Found(at.offset(), at.timestamp() - base);
                Check.equal("found for time +" + later, found, wanted);
            });
        }
    }

    private static void ofMaxTimestamp(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        long base = System.currentTimeMillis() - 60_000;
        try (Writer writer = cluster.writer(topic, Map.of("linger.ms", 1_000))) {
            for (long later : List.of(100L, 300L, 200L)) {
                writer.send(new ProducerRecord<>(topic, 0, base + later, null, "value"));
            }
            writer.offsets();
            writer.send(new ProducerRecord<>(topic, 0, base + 150, null, "value"));
            writer.offsets();
        }
        var found = cluster.admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).partitionResult(partition).get();
        Check.equal("offset", found.offset(), 1L);
        Check.equal("timestamp", found.timestamp() - base, 300L);
    }

    private static void deleteRecords(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Writer writer = cluster.writer(topic)) {
            Produce.values(10).forEach(writer::send);
            writer.offsets();
        }
        var deleted = cluster.admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4)));
        Check.equal("low watermark", deleted.lowWatermarks().get(partition).get().lowWatermark(), 4L);
        try (Reader reader = cluster.reader(topic)) {
            Check.equal("beginning", reader.beginning(), 4L);
            Check.equal("end", reader.end(), 10L);
            Check.equalLists("values", Arrival.values(reader.takeAll()), Produce.values(10).subList(4, 10));
        }
        cluster.refused("deleting beyond the end", Errors.OFFSET_OUT_OF_RANGE,
                () -> cluster.admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(11))).all().get());
    }
}
