import java.util.ArrayList;
import java.util.List;
import java.util.stream.StreamSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Header;

/** A record, and when the consumer gave it to us. */
record Arrival(ConsumerRecord<String, String> record, long atMs) {
    String value() {
        return record.value();
    }

    long offset() {
        return record.offset();
    }

    /** The one value of a header as text, null without such a header. */
    String header(String name) {
        List<String> values = new ArrayList<>();
        record.headers().headers(name).forEach(h -> values.add(new String(h.value())));
        Check.that(values.size() < 2, "header " + name + " is there " + values.size() + " times");
        return values.isEmpty() ? null : values.get(0);
    }

    List<String> headerNames() {
        return StreamSupport.stream(record.headers().spliterator(), false).map(Header::key).toList();
    }

    static List<String> values(List<Arrival> arrivals) {
        return arrivals.stream().map(Arrival::value).toList();
    }

    static List<Long> offsets(List<Arrival> arrivals) {
        return arrivals.stream().map(Arrival::offset).toList();
    }
}
