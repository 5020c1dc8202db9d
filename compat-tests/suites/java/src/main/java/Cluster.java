import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ClassicGroupDescription;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ClassicGroupState;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.protocol.Errors;

/** The broker under test as scenarios see it: new topics, and clients. */
final class Cluster implements AutoCloseable {
    /** How long anything may take; every client is told so, and none can hang. */
    static final Duration PATIENCE = Duration.ofSeconds(10);
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");

    final String bootstrap;
    final Admin admin;
    private final String run = UUID.randomUUID().toString().substring(0, 8);
    private int topics;
    /** Whether members join by the protocol in which the broker assigns. */
    boolean consumerProtocol;

    Cluster(String bootstrap) {
        this.bootstrap = bootstrap;
        int patience = (int) PATIENCE.toMillis();
        admin = Admin.create(Map.of(
                "bootstrap.servers", bootstrap, "default.api.timeout.ms", patience, "request.timeout.ms", patience / 2));
    }

    /** A name of a topic or a group that no other run uses. */
    String newName() {
        topics += 1;
        return "java-" + run + "-" + topics;
    }

    String newTopic(int partitions) throws Exception {
        return newTopic(partitions, Map.of());
    }

    String newTopic(int partitions, Map<String, String> configs) throws Exception {
        String topic = newName();
        create(topic, partitions, configs);
        return topic;
    }

    /** Asks for a topic, and no more. */
    Object ask(String topic, int partitions, Map<String, String> configs) throws Exception {
        return admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
    }

    void create(String topic, int partitions, Map<String, String> configs) throws Exception {
        ask(topic, partitions, configs);
        Check.waitUntil(topic + " has " + partitions + " partitions", () -> partitions(topic) == partitions);
    }

    Set<String> topics() throws Exception {
        return admin.listTopics().names().get();
    }

    Map<String, ConfigEntry> configs(String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        return admin.describeConfigs(List.of(resource)).all().get().get(resource).entries().stream()
                .collect(Collectors.toMap(ConfigEntry::name, entry -> entry));
    }

    /** Whether an attempt fails with this error of the broker. */
    void refused(String what, Errors expected, Callable<?> attempt) throws Exception {
        try {
            Object answer = attempt.call();
            throw new AssertionError(what + " was not refused: " + answer);
        } catch (ExecutionException e) {
            Check.equal("error of " + what, Errors.forException(e.getCause()), expected);
        } catch (ApiException e) {
            Check.equal("error of " + what, Errors.forException(e), expected);
        }
    }

    TopicDescription describe(String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    /** How many partitions a topic has, 0 where there is none. */
    int partitions(String topic) throws Exception {
        try {
            return describe(topic).partitions().size();
        } catch (ExecutionException e) {
            if (e.getCause() instanceof UnknownTopicOrPartitionException) {
                return 0;
            }
            throw e;
        }
    }

    Writer writer(String topic, Map<String, Object> config) {
        return new Writer(bootstrap, topic, config);
    }

    Writer writer(String topic) {
        return writer(topic, Map.of());
    }

    Reader reader(String topic, int partitions, Map<String, Object> config) {
        return new Reader(bootstrap, topic, partitions, config);
    }

    Reader reader(String topic) {
        return reader(topic, 1, Map.of());
    }

    /** A member of a group; its client id is the group's name. */
    Member join(String topic, String group, Map<String, Object> config) {
        return new Member(bootstrap, topic, group, config, consumerProtocol);
    }

    Member join(String topic, String group) {
        return join(topic, group, Map.of());
    }

    Set<String> groups() throws Exception {
        return admin.listGroups().all().get().stream().map(GroupListing::groupId).collect(Collectors.toSet());
    }

    ClassicGroupDescription describeGroup(String group) throws Exception {
        return admin.describeClassicGroups(List.of(group)).all().get().get(group);
    }

    /** The group once its last member is gone. */
    ClassicGroupDescription emptied(String group) throws Exception {
        Check.waitUntil(group + " is empty", () -> describeGroup(group).state() == ClassicGroupState.EMPTY);
        return describeGroup(group);
    }

    /** What a group committed, by partition. */
    Map<Integer, OffsetAndMetadata> committed(String group, String topic) throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().entrySet().stream()
                .filter(entry -> entry.getKey().topic().equals(topic))
                .collect(Collectors.toMap(entry -> entry.getKey().partition(), Map.Entry::getValue));
    }

    List<Arrival> readAll(String topic, int partitions) {
        try (Reader reader = reader(topic, partitions, Map.of())) {
            return reader.takeAll();
        }
    }

    List<Arrival> readAll(String topic) {
        return readAll(topic, 1);
    }

    @Override
    public void close() {
        admin.close(Duration.ofSeconds(1));
    }
}
