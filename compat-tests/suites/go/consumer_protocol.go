package main

// consumerProtocolScenarios are asked of a group whose partitions the broker assigns (KIP-848).
func consumerProtocolScenarios() []scenario {
	all := []scenario{
		{"a group continues where it committed", continues},
		{"two members share the partitions", share},
		{"a member that leaves hands its partitions over", memberLeaves},
		{"a group notices added partitions", noticesPartitions},
	}
	for i, one := range all {
		all[i] = scenario{"consumer-protocol " + one.name, func(s *suite) {
			client := s.driver.(*franz)
			client.consumerProtocol = true
			defer func() { client.consumerProtocol = false }()
			one.run(s)
		}}
	}
	return all
}
