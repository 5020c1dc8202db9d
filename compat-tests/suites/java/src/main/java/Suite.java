import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Drives a broker with the Java client: `Suite BOOTSTRAP [ONLY]`, where ONLY is `common`, `own`, or a part of the scenarios'
 * names. SCENARIOS.md says what each proves.
 */
public final class Suite {
    /** No scenario begins after this: a broker that answers nothing must not cost each its patience. */
    private static final Duration LIMIT = Duration.ofSeconds(60);

    private Suite() {}

    public static void main(String[] args) {
        if (args.length < 1 || args.length > 2) {
            System.err.println("Suite BOOTSTRAP [ONLY_SCENARIO]");
            System.exit(2);
        }
        String only = args.length > 1 ? args[1] : "";
        Map<String, Scenario> common = new LinkedHashMap<>(Produce.scenarios());
        common.putAll(Fetch.scenarios());
        common.putAll(Offsets.scenarios());
        common.putAll(Administer.scenarios());
        Map<String, Scenario> own = new LinkedHashMap<>(Held.scenarios());
        own.putAll(Transactions.scenarios());
        Map<String, Scenario> scenarios = new LinkedHashMap<>(only.equals("own") ? Map.of() : common);
        scenarios.putAll(only.equals("common") ? Map.of() : own);
        boolean part = !only.equals("common") && !only.equals("own");
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
