package main

import (
	"fmt"
	"strings"
	"time"
)

// Kafka's offset.metadata.max.bytes, which counts characters.
const metadataMax = 4_096

func commitScenarios() []scenario {
	return []scenario{
		{"a commit's metadata comes back", commitMetadata},
		{"a group without commits starts where its reset says", neverCommitted},
		{"offsets committed without a subscription", withoutSubscription},
		{"a commit by no member is refused", byNoMember},
		{"offsets of an empty group altered", offsetsAltered},
		{"offsets of a group deleted", offsetsDeleted},
	}
}

func commitMetadata(s *suite) {
	topic, group := s.newTopic(1, nil), s.newName()
	var last map[int32]committed
	for _, one := range []committed{{5, "where I was: Zürich"}, {3, ""}, {3, strings.Repeat("ü", metadataMax)}} {
		last = map[int32]committed{0: one}
		do(s.commit(group, topic, last))
		checkCommitted(s, "committed", group, topic, last)
	}
	tooLong := map[int32]committed{0: {4, strings.Repeat("x", metadataMax+1)}}
	refused("longer metadata", metadataTooLarge, s.commit(group, topic, tooLong))
	checkCommitted(s, "committed after it", group, topic, last)
}

func neverCommitted(s *suite) {
	topic := s.newTopic(1, nil)
	early, late := s.newName(), s.newName()
	s.write(topic, numbered(5), writing{})
	m := s.join(topic, early, joining{})
	defer m.close()
	equalLists("values from the earliest", values(take(m, 5)), values(numbered(5)))
	m = s.join(topic, late, joining{fromLatest: true})
	defer m.close()
	settle(1, m)
	var found []record
	// When the member has taken its place is told by no client.
	waitUntil("one of the new records is read", func() bool {
		s.write(topic, []record{text("new")}, writing{})
		found = m.poll(300 * time.Millisecond)
		return len(found) > 0
	})
	check(found[0].offset >= 5, "the latest gave offset %d, older than the member", found[0].offset)
	for _, group := range []string{early, late} {
		checkCommitted(s, "committed", group, topic, map[int32]committed{})
	}
}

func withoutSubscription(s *suite) {
	topic, group := s.newTopic(3, nil), s.newName()
	var sent []record
	for i := range 9 {
		sent = append(sent, record{value: fmt.Append(nil, i), partition: 2})
	}
	s.write(topic, sent, writing{})
	do(s.commit(group, topic, map[int32]committed{0: {}, 2: {offset: 7}}))
	checkCommitted(s, "committed", group, topic, map[int32]committed{0: {}, 2: {offset: 7}})
	do(s.commit(group, topic, map[int32]committed{2: {offset: 4}}))
	checkCommitted(s, "committed then", group, topic, map[int32]committed{0: {}, 2: {offset: 4}})
	found := s.describeGroup(group)
	equal("state and members", fmt.Sprint(found.state, len(found.members)), "Empty0")
	m := s.join(topic, group, joining{})
	defer m.close()
	equalLists("offsets read", offsets(take(m, 5)), sequence(4, 9))
}

func byNoMember(s *suite) {
	topic, group := s.newTopic(1, nil), s.newName()
	m := s.join(topic, group, joining{})
	defer m.close()
	settle(1, m)
	do(m.commit(map[int32]int64{0: 3}))
	id := s.describeGroup(group).members[0].id
	for _, one := range []struct {
		what, member     string
		generation, code int
	}{
		{"an unknown member", "nobody", 1, unknownMember},
		{"a generation that is over", id, 0, illegalGeneration},
		{"nobody in a group with members", "", -1, unknownMember},
	} {
		refused(one.what, one.code, s.commitAs(group, topic, map[int32]committed{0: {offset: 7}}, one.member, int32(one.generation)))
	}
	checkCommitted(s, "committed", group, topic, map[int32]committed{0: {offset: 3}})
}

func offsetsAltered(s *suite) {
	topic, group := s.newTopic(1, nil), s.newName()
	s.write(topic, numbered(10), writing{})
	m := s.join(topic, group, joining{})
	defer m.close()
	take(m, 10)
	do(m.commit(map[int32]int64{0: 10}))
	refused("altering it with a member", unknownMember, s.alterOffsets(group, topic, map[int32]committed{0: {offset: 4}}))
	m.close()
	s.emptied(group)
	checkCommitted(s, "committed", group, topic, map[int32]committed{0: {offset: 10}})
	do(s.alterOffsets(group, topic, map[int32]committed{0: {offset: 6}}))
	checkCommitted(s, "altered", group, topic, map[int32]committed{0: {offset: 6}})
	m = s.join(topic, group, joining{})
	defer m.close()
	equalLists("offsets read", offsets(take(m, 4)), sequence(6, 10))
}

func offsetsDeleted(s *suite) {
	topic, group := s.newTopic(2, nil), s.newName()
	m := s.join(topic, group, joining{})
	defer m.close()
	settle(2, m)
	do(m.commit(map[int32]int64{0: 1, 1: 2}))
	refused("deleting what a member is subscribed to", subscribedToTopic, s.deleteOffset(group, topic, 0))
	m.close()
	s.emptied(group)
	checkCommitted(s, "committed", group, topic, map[int32]committed{0: {offset: 1}, 1: {offset: 2}})
	do(s.deleteOffset(group, topic, 0))
	checkCommitted(s, "what is left", group, topic, map[int32]committed{1: {offset: 2}})
}
