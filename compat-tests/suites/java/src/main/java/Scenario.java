/** One behaviour; it throws when the broker lacks it. */
interface Scenario {
    void run(Cluster cluster) throws Exception;
}
