import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Drives a broker with the Java client: `Suite BOOTSTRAP [ONLY]`, where ONLY is `common`, `groups` or `transactions` (parts of it), `own`,
 * or a part of the scenarios' names. SCENARIOS.md says what each proves.
 */
public final class Suite {
    /** No scenario begins after this: a broker that answers nothing must not cost each its patience. */
    private static final Duration LIMIT = Duration.ofSeconds(240);

    private Suite() {}

    public static void main(String[] args) {
        if (args.length < 1 || args.length > 2) {
            System.err.println("Suite BOOTSTRAP [ONLY_SCENARIO]");
            System.exit(2);
        }
        String only = args.length > 1 ? args[1] : "";
        Map<String, Scenario> groups = merged(Groups.scenarios(), Commits.scenarios());
        Map<String, Scenario> common = merged(
                Produce.scenarios(), Fetch.scenarios(), Compacted.scenarios(), Offsets.scenarios(), Administer.scenarios(), groups,
                Transactions.scenarios());
        Map<String, Scenario> own = merged(Held.scenarios(), Commits.held(), Transactions.own());
        Map<String, Scenario> newer = ConsumerProtocol.scenarios();
        Map<String, Map<String, Scenario>> parts = Map.of(
                "common", common, "groups", groups, "transactions", Transactions.scenarios(), "consumer-protocol", newer, "own", own);
        Map<String, Scenario> scenarios = parts.getOrDefault(only, merged(common, own, newer));
        boolean part = !parts.containsKey(only);
        long deadline = System.nanoTime() + LIMIT.toNanos();
        int passed = 0;
        int failed = 0;
        try (Cluster cluster = new Cluster(args[0])) {
            for (var scenario : scenarios.entrySet()) {
                if (part && !scenario.getKey().contains(only)) {
                    continue;
                }
                if (passes(scenario.getKey(), scenario.getValue(), cluster, deadline)) {
                    passed += 1;
                } else {
                    failed += 1;
                }
            }
        }
        System.out.println(passed + " passed, " + failed + " failed");
        System.exit(failed == 0 && passed > 0 ? 0 : 1);
    }

    @SafeVarargs
    private static Map<String, Scenario> merged(Map<String, Scenario>... parts) {
        Map<String, Scenario> all = new LinkedHashMap<>();
        for (var part : parts) {
            all.putAll(part);
        }
        return all;
    }

    private static boolean passes(String name, Scenario scenario, Cluster cluster, long deadline) {
        try {
            Check.that(System.nanoTime() < deadline, "not run, the suite's " + LIMIT.toSeconds() + " s are over");
            scenario.run(cluster);
            System.out.println("ok " + name);
            return true;
        } catch (Exception | AssertionError e) {
            String reason = e.toString().replaceAll("\\s+", " ");
            System.out.println("FAIL " + name + ": " + reason.substring(0, Math.min(500, reason.length())));
            return false;
        }
    }
}
