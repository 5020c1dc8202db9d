package main

import (
	"fmt"
	"slices"
	"sort"
	"time"
)

const (
	spreadOver = 4
	// A session of 6 s, whose last heartbeat was moments before, ends no sooner; and not much later.
	shortSession = 6 * time.Second
	survives     = 3 * time.Second
	dies         = 12 * time.Second
)

func groupScenarios() []scenario {
	return append([]scenario{
		{"a group continues where it committed", continues},
		{"two members share the partitions", share},
		{"a member that leaves hands its partitions over", memberLeaves},
		{"a member that dies loses its partitions", memberDies},
		{"a static member comes back without a rebalance", staticComesBack},
		{"a replaced static member is fenced", fenced},
		{"a cooperative rebalance takes only what moves", cooperative},
		{"a group notices added partitions", noticesPartitions},
		{"group listed and described", groupDescribed},
		{"group deleted only when empty", groupDeleted},
	}, commitScenarios()...)
}

// spread writes so many records to each partition.
func (s *suite) spread(topic string, partitions, count int) {
	var all []record
	for _, p := range every(partitions) {
		for i := range count {
			all = append(all, record{value: fmt.Appendf(nil, "%d of %d", i, p), partition: p})
		}
	}
	s.write(topic, all, writing{})
}

type place struct {
	partition int32
	offset    int64
}

// placesOf is where the records lie, sorted.
func placesOf(records []record) []place {
	all := []place{}
	for _, r := range records {
		all = append(all, place{r.partition, r.offset})
	}
	sort.Slice(all, func(i, j int) bool {
		return all[i].partition < all[j].partition || all[i].partition == all[j].partition && all[i].offset < all[j].offset
	})
	return all
}

func places(partitions []int32, from, to int64) []place {
	all := []place{}
	for _, p := range partitions {
		for offset := from; offset < to; offset++ {
			all = append(all, place{p, offset})
		}
	}
	return all
}

func checkCommitted(s *suite, what, group, topic string, offsets map[int32]committed) {
	equal(what, s.committed(group, topic), offsets)
}

func continues(s *suite) {
	topic, group := s.newTopic(2, nil), s.newName()
	s.spread(topic, 2, 10)
	first := s.join(topic, group, joining{})
	defer first.close()
	equalLists("read by the first", placesOf(take(first, 20)), places(every(2), 0, 10))
	do(first.commit(map[int32]int64{0: 10, 1: 10}))
	first.close()
	checkCommitted(s, "committed", group, topic, map[int32]committed{0: {offset: 10}, 1: {offset: 10}})
	s.spread(topic, 2, 3)
	second := s.join(topic, group, joining{})
	defer second.close()
	equalLists("read by the second", placesOf(take(second, 6)), places(every(2), 10, 13))
}

func share(s *suite) {
	topic, group := s.newTopic(spreadOver, nil), s.newName()
	one, other := s.sharing(topic, group, spreadOver)
	defer one.close()
	defer other.close()
	s.spread(topic, spreadOver, 25)
	for _, m := range []member{one, other} {
		partitions := m.claims().partitions()
		equalLists(fmt.Sprint("read by the member with ", partitions), placesOf(take(m, 50)), places(partitions, 0, 25))
		equal("records besides", len(m.poll(50*time.Millisecond)), 0)
	}
}

func memberLeaves(s *suite) {
	topic, group := s.newTopic(spreadOver, nil), s.newName()
	one, other := s.sharing(topic, group, spreadOver)
	defer other.close()
	one.close()
	settle(spreadOver, other)
	s.spread(topic, spreadOver, 1)
	equalLists("read by who is left", placesOf(take(other, spreadOver)), places(every(spreadOver), 0, 1))
}

func memberDies(s *suite) {
	topic, group := s.newTopic(spreadOver, nil), s.newName()
	cable := &line{}
	doomed := s.join(topic, group, joining{session: shortSession, line: cable})
	// What it still tries comes to nothing, and takes its time.
	defer func() { go doomed.close() }()
	heir := s.join(topic, group, joining{})
	defer heir.close()
	settle(spreadOver, doomed, heir)
	cable.cut()
	died := time.Now()
	settleWithin(dies, spreadOver, heir)
	took := time.Since(died)
	check(took > survives, "it was given up after %s, its session is %s", took, shortSession)
	s.spread(topic, spreadOver, 1)
	equalLists("read by the heir", placesOf(take(heir, spreadOver)), places(every(spreadOver), 0, 1))
}

func staticComesBack(s *suite) {
	topic, group := s.newTopic(spreadOver, nil), s.newName()
	one, other := s.join(topic, group, joining{instance: "one"}), s.join(topic, group, joining{instance: "other"})
	defer other.close()
	settle(spreadOver, one, other)
	had := one.claims().partitions()
	given, taken := other.claims().history()
	one.close()
	again := s.join(topic, group, joining{instance: "one"})
	defer again.close()
	waitUntil(fmt.Sprint("it has ", had, " again"), func() bool { return slices.Equal(again.claims().partitions(), had) })
	// A rebalance would have waited for the other member, which would have been told.
	givenSince, takenSince := other.claims().history()
	equalLists("given to the other member", givenSince, given)
	equalLists("taken from the other member", takenSince, taken)
	s.spread(topic, spreadOver, 1)
	equalLists("read", placesOf(take(again, len(had))), places(had, 0, 1))
}

func fenced(s *suite) {
	topic, group := s.newTopic(2, nil), s.newName()
	old := s.join(topic, group, joining{instance: "same"})
	defer old.close()
	settle(2, old)
	do(old.commit(map[int32]int64{0: 0}))
	replacement := s.join(topic, group, joining{instance: "same"})
	defer replacement.close()
	settle(2, replacement)
	refused("a commit of the member that was replaced", fencedInstance, old.commit(map[int32]int64{0: 1}))
	do(replacement.commit(map[int32]int64{1: 2}))
	checkCommitted(s, "committed", group, topic, map[int32]committed{0: {}, 1: {offset: 2}})
}

func cooperative(s *suite) {
	topic, group := s.newTopic(spreadOver, nil), s.newName()
	how := joining{cooperative: true}
	one := s.join(topic, group, how)
	defer one.close()
	settle(spreadOver, one)
	other := s.join(topic, group, how)
	defer other.close()
	settle(spreadOver, one, other)
	gone := other.claims().partitions()
	checkTaken(one, "taken from the first member", gone)
	other.close()
	settle(spreadOver, one)
	checkTaken(one, "taken from it when the other left", gone)
}

func checkTaken(m member, what string, partitions []int32) {
	_, taken := m.claims().history()
	slices.Sort(taken)
	equalLists(what, taken, partitions)
}

func noticesPartitions(s *suite) {
	topic, group := s.newTopic(2, nil), s.newName()
	m := s.join(topic, group, joining{})
	defer m.close()
	settle(2, m)
	do(s.grow(topic, spreadOver))
	settle(spreadOver, m)
	s.spread(topic, spreadOver, 1)
	equalLists("read", placesOf(take(m, spreadOver)), places(every(spreadOver), 0, 1))
}

func groupDescribed(s *suite) {
	topic, name := s.newTopic(spreadOver, nil), s.newName()
	one, other := s.sharing(topic, name, spreadOver)
	defer one.close()
	defer other.close()
	found := s.describeGroup(name)
	equal("state and protocol", found.state+" "+found.protocol, "Stable range")
	for _, m := range []member{one, other} {
		partitions := m.claims().partitions()
		of := func(d groupMember) bool {
			return slices.Equal(d.partitions, partitions) && d.client == name && d.id != ""
		}
		check(slices.ContainsFunc(found.members, of), "no member %s with %v among %+v", name, partitions, found.members)
	}
	equal("members", len(found.members), 2)
	check(slices.Contains(s.groups(), name), "it is not listed")
	one.close()
	other.close()
	equal("members when empty", len(s.emptied(name).members), 0)
	check(slices.Contains(s.groups(), name), "it is not listed when empty")
}

func groupDeleted(s *suite) {
	topic, group := s.newTopic(1, nil), s.newName()
	m := s.join(topic, group, joining{})
	defer m.close()
	settle(1, m)
	do(m.commit(map[int32]int64{0: 0}))
	refused("deleting it with a member", nonEmptyGroup, s.deleteGroup(group))
	m.close()
	s.emptied(group)
	checkCommitted(s, "committed before", group, topic, map[int32]committed{0: {}})
	do(s.deleteGroup(group))
	check(!slices.Contains(s.groups(), group), "it is still listed")
	checkCommitted(s, "committed after", group, topic, map[int32]committed{})
	refused("deleting it again", groupNotFound, s.deleteGroup(group))
}
