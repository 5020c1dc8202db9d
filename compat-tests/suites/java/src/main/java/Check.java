import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;

/** Checks that say what was wrong. */
final class Check {
    private Check() {}

    static void that(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void equal(String what, Object actual, Object expected) {
        that(Objects.equals(actual, expected), what + ": " + actual + ", not " + expected);
    }

    /** Names the first difference: whole lists would bury it. */
    static void equalLists(String what, List<?> actual, List<?> expected) {
        for (int i = 0; i < Math.min(actual.size(), expected.size()); i++) {
            equal(what + ", at " + i, actual.get(i), expected.get(i));
        }
        equal(what + ", how many", actual.size(), expected.size());
    }

    static void waitUntil(String what, Callable<Boolean> condition) throws Exception {
        waitUntil(what, Cluster.PATIENCE, condition);
    }

    static void waitUntil(String what, Duration patience, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + patience.toNanos();
        while (!condition.call()) {
            that(System.nanoTime() < deadline, "not within " + patience.toSeconds() + " s: " + what);
            Thread.sleep(20);
        }
    }
}
