import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.LongStream;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.InvalidRecordException;

/** Held records: produced with a deliver-at or deliver-after header, readable when due. */
final class Held {
    /** Long enough for plain records to be produced and read on a busy machine before it is over. */
    private static final long DELAY_MS = 1_500;
    /** What may lie between a due time and the record's arrival here. */
    private static final long LATE_MS = 2_000;
    private static final long HOUR_MS = 3_600_000;
    private static final String DELIVER_AT = "chronos-deliver-at";
    private static final String DELIVER_AFTER = "chronos-deliver-after";

    private Held() {}

    static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        all.put("a fired record is read with its headers", Held::firedRecord);
        all.put("a held record arrives when due and not before", Held::oneHeldRecord);
        all.put("a batch of plain and held records is split", Held::mixedBatch);
        all.put("records are held with every codec", Held::everyCodec);
        all.put("deliver-after takes a duration in each spelling", Held::deliverAfter);
        all.put("a malformed deliver-at is refused", Held::malformed);
        all.put("a consumer at the end has no lag though records are held", Held::noLag);
        return all;
    }

    /** What holds for every fired record, whatever it carries. */
    private static void checkFired(Arrival arrival, long due, long scheduleId) {
        Check.equal("chronos-due-at", arrival.header("chronos-due-at"), Long.toString(due));
        Check.equal("chronos-schedule-id", arrival.header("chronos-schedule-id"), Long.toString(scheduleId));
        Check.that(arrival.header("chronos-created-at") != null, "no chronos-created-at");
        Check.equal(DELIVER_AT, arrival.header(DELIVER_AT), null);
        Check.equal(DELIVER_AFTER, arrival.header(DELIVER_AFTER), null);
        Check.that(arrival.offset() > scheduleId, "offset " + arrival.offset() + " is not after schedule id " + scheduleId);
        Check.that(arrival.atMs() >= due, (due - arrival.atMs()) + " ms early");
        Check.that(arrival.atMs() < due + LATE_MS, (arrival.atMs() - due) + " ms late");
    }

    private static void checkPlain(Arrival arrival) {
        List<String> names = arrival.headerNames().stream().filter(n -> n.startsWith("chronos-")).toList();
        Check.equal("headers of a plain record", names, List.of());
    }

    /** The scenario that every client has: a batch of attribute bit 13, and offsets that are holes. */
    private static void firedRecord(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        long due = System.currentTimeMillis() + 500;
        try (Writer writer = cluster.writer(topic); Reader reader = cluster.reader(topic)) {
            writer.send("first");
            writer.sendWith(DELIVER_AT, due, "held");
            writer.send("last");
            Check.equalLists("offsets", writer.offsets(), List.of(0L, 1L, 2L));
            List<Arrival> plain = reader.take(2);
            Check.equalLists("plain records", Arrival.values(plain), List.of("first", "last"));
            Check.equalLists("offsets of plain records", Arrival.offsets(plain), List.of(0L, 2L));
            Arrival fired = reader.take(1).get(0);
            Check.that(fired.offset() >= 3, "it fired at offset " + fired.offset());
            Check.equal("value", fired.value(), "held");
            checkFired(fired, due, 1);
        }
    }

    private static void oneHeldRecord(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        long created = System.currentTimeMillis() - 1_000;
        long due = System.currentTimeMillis() + DELAY_MS;
        ProducerRecord<String, String> record = new ProducerRecord<>(topic, 0, created, "key", "held");
        record.headers().add("mine", "kept".getBytes()).add(DELIVER_AT, Long.toString(due).getBytes());
        try (Writer writer = cluster.writer(topic); Reader reader = cluster.reader(topic)) {
            writer.send(record);
            long scheduleId = writer.offsets().get(0);
            Check.equal("schedule id", scheduleId, 0L);
            Check.equal("records before it is due", cluster.readAll(topic).size(), 0);
            Check.that(System.currentTimeMillis() < due, "this machine is too slow to look before it is due");
            Arrival fired = reader.take(1).get(0);
            checkFired(fired, due, scheduleId);
            Check.equal("key", fired.record().key(), "key");
            Check.equal("value", fired.value(), "held");
            Check.equal("the producer's own header", fired.header("mine"), "kept");
            Check.equal("chronos-created-at", fired.header("chronos-created-at"), Long.toString(created));
            Check.equal("timestamp", fired.record().timestamp(), due);
        }
        Check.equal("records in the end", cluster.readAll(topic).size(), 1);
    }

    private static void mixedBatch(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        long start = System.currentTimeMillis() + DELAY_MS;
        Map<Integer, Long> dues = new TreeMap<>();
        List<Arrival> plain;
        List<Arrival> fired;
        // Nothing is flushed before the last send, so the linger makes one batch of all.
        try (Writer writer = cluster.writer(topic, Map.of("linger.ms", 1_000)); Reader reader = cluster.reader(topic)) {
            for (int i = 0; i < 30; i++) {
                if (i % 3 == 0) {
                    writer.send("" + i);
                } else {
                    // Later records are due earlier, and each due time has several records.
                    dues.put(i, start + 100 * (3 - i / 10));
                    writer.sendWith(DELIVER_AT, dues.get(i), "" + i);
                }
            }
            Check.equalLists("offsets", writer.offsets(), LongStream.range(0, 30).boxed().toList());
            Check.equal("records in the batch", writer.metric("records-per-request-avg"), 30.0);
            plain = reader.take(10);
            List<Long> thirds = LongStream.range(0, 10).map(i -> i * 3).boxed().toList();
            Check.equalLists("plain records", Arrival.values(plain), thirds.stream().map(i -> "" + i).toList());
            Check.equalLists("offsets of plain records", Arrival.offsets(plain), thirds);
            Check.that(plain.get(9).atMs() < start, "plain records came only when held ones were due");
            fired = reader.take(20);
        }
        plain.forEach(Held::checkPlain);
        // The sort is stable: by due time, then by schedule id.
        List<Integer> expected = dues.keySet().stream().sorted(Comparator.comparing(dues::get)).toList();
        Check.equalLists("fired records", Arrival.values(fired), expected.stream().map(i -> "" + i).toList());
        for (int at = 0; at < expected.size(); at++) {
            int i = expected.get(at);
            checkFired(fired.get(at), dues.get(i), i);
        }
        Check.equal("records in the end", cluster.readAll(topic).size(), 30);
    }

    private static void everyCodec(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        long due = System.currentTimeMillis() + DELAY_MS;
        Map<String, Long> scheduleIds = new LinkedHashMap<>();
        List<String> plain = new ArrayList<>();
        for (String codec : Cluster.CODECS) {
            try (Writer writer = cluster.writer(topic, Map.of("compression.type", codec, "linger.ms", 1_000))) {
                List<String> held = new ArrayList<>();
                for (int i = 0; i < 10; i++) {
                    plain.add((codec + " plain " + i).repeat(20));
                    held.add((codec + " held " + i).repeat(20));
                    writer.send(plain.get(plain.size() - 1));
                    writer.sendWith(DELIVER_AT, due, held.get(i));
                }
                List<Long> offsets = writer.offsets();
                for (int i = 0; i < 10; i++) {
                    scheduleIds.put(held.get(i), offsets.get(2 * i + 1));
                }
            }
        }
        try (Reader reader = cluster.reader(topic)) {
            Check.equalLists("plain records", Arrival.values(reader.take(plain.size())), plain);
            List<Arrival> fired = reader.take(scheduleIds.size());
            Check.equalLists("fired records", Arrival.values(fired), List.copyOf(scheduleIds.keySet()));
            fired.forEach(arrival -> checkFired(arrival, due, scheduleIds.get(arrival.value())));
        }
    }

    private static void deliverAfter(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        List<String> spellings = List.of("1s", "1000", "PT1S");
        try (Writer writer = cluster.writer(topic); Reader reader = cluster.reader(topic)) {
            long before = System.currentTimeMillis();
            spellings.forEach(spelling -> writer.sendWith(DELIVER_AFTER, spelling, spelling));
            List<Long> scheduleIds = writer.offsets();
            long after = System.currentTimeMillis();
            for (Arrival arrival : reader.take(3)) {
                Check.that(arrival.header("chronos-due-at") != null, "'" + arrival.value() + "' was not held");
                long waited = Long.parseLong(arrival.header("chronos-due-at"));
                Check.that(before + 1_000 <= waited && waited <= after + 1_000,
                        arrival.value() + " was resolved to " + (waited - before) + " ms after sending");
                checkFired(arrival, waited, scheduleIds.get(spellings.indexOf(arrival.value())));
            }
        }
    }

    private static void malformed(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        try (Writer writer = cluster.writer(topic)) {
            writer.sendWith(DELIVER_AT, "tomorrow", "refused");
            try {
                Check.that(false, "it was accepted at offset " + writer.offsets());
            } catch (InvalidRecordException e) {
                // The idempotent producer has to get over it, too.
                writer.send("accepted");
                Check.equalLists("offset of the next record", writer.offsets(), List.of(0L));
            }
        }
        Check.equalLists("values", Arrival.values(cluster.readAll(topic)), List.of("accepted"));
    }

    private static void noLag(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        long far = System.currentTimeMillis() + HOUR_MS;
        try (Writer writer = cluster.writer(topic); Reader reader = cluster.reader(topic)) {
            List.of("0", "1", "2", "3", "4").forEach(writer::send);
            List.of("5", "6", "7").forEach(value -> writer.sendWith(DELIVER_AT, far, value));
            writer.offsets();
            Check.equal("records", reader.takeAll().size(), 5);
            checkAtEnd(reader, 5);
            // The hole that the held records left is behind the consumer now.
            writer.send("8");
            Check.equalLists("offset after the held records", writer.offsets(), List.of(8L));
            Check.equalLists("offsets", Arrival.offsets(reader.takeAll()), List.of(8L));
            checkAtEnd(reader, 9);
        }
    }

    private static void checkAtEnd(Reader reader, long end) {
        // The lag is that of the last fetch.
        reader.poll();
        Check.equal("position", reader.position(), end);
        Check.equal("end offset", reader.end(), end);
        Check.equal("lag", reader.consumer.currentLag(reader.partitions.get(0)).orElse(-1), 0L);
    }
}
