package main

import (
	"bytes"
	"crypto/rand"
)

func produceScenarios() []scenario {
	all := []scenario{{"records come back in order", inOrder}}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		all = append(all, scenario{"codec " + codec, func(s *suite) { codecRoundTrips(s, codec) }})
	}
	return append(all,
		scenario{"every field round trips", everyField},
		scenario{"acks 0, 1 and all", acks},
		scenario{"idempotent producer keeps order", idempotent},
		scenario{"record too large is refused", tooLarge},
		scenario{"producing creates a topic", createsTopic},
		scenario{"log append time", logAppendTime},
	)
}

func inOrder(s *suite) {
	topic := s.newTopic(1, nil)
	equalLists("offsets", s.write(topic, numbered(1_000), writing{}), sequence(0, 1_000))
	equalLists("values", values(s.readAll(topic, reading{})), values(numbered(1_000)))
}

func codecRoundTrips(s *suite, codec string) {
	topic := s.newTopic(1, nil)
	sent := numbered(200)
	for i := range sent {
		sent[i].value = bytes.Repeat(sent[i].value, 20)
	}
	s.write(topic, sent, writing{codec: codec})
	equalLists("values", values(s.readAll(topic, reading{})), values(sent))
}

func everyField(s *suite) {
	topic := s.newTopic(1, nil)
	base := nowMS() - 60_000
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	sent := []record{
		{key: []byte("key"), value: []byte("value"), headers: []header{
			{"h", []byte("1")}, {"h", []byte("2")}, {"empty", []byte{}}, {"null", nil}, {"bytes", every},
		}},
		{key: []byte("tombstone")},
		{key: []byte{}, value: []byte{}},
		{value: every},
	}
	for i := range sent {
		sent[i].time = base + int64(i)
		sent[i].offset = int64(i)
	}
	s.write(topic, sent, writing{})
	found := s.readAll(topic, reading{})
	for i := range found {
		found[i].at = 0
	}
	equalLists("records", found, sent)
}

func acks(s *suite) {
	for _, acks := range []string{"0", "1", "all"} {
		topic := s.newTopic(1, nil)
		s.write(topic, numbered(50), writing{acks: acks})
		r := s.reader(topic)
		equalLists("values of acks "+acks, values(take(r, 50)), values(numbered(50)))
		r.close()
	}
}

func idempotent(s *suite) {
	topic := s.newTopic(1, nil)
	// Small batches: many sequence numbers.
	how := writing{idempotent: true, batchMax: 1_024}
	equalLists("offsets", s.write(topic, numbered(2_000), how), sequence(0, 2_000))
	equalLists("values", values(s.readAll(topic, reading{})), values(numbered(2_000)))
}

func tooLarge(s *suite) {
	topic := s.newTopic(1, nil)
	large := make([]byte, 2_000_000)
	rand.Read(large)
	outcomes := s.produce(topic, []record{{value: large}}, writing{requestMax: 4_000_000})
	refused("2 MB", messageTooLarge, outcomes[0].err)
	equalLists("offset of the next record", s.write(topic, []record{text("accepted")}, writing{}), []int64{0})
	equalLists("values", values(s.readAll(topic, reading{})), []string{"accepted"})
}

func createsTopic(s *suite) {
	topic := s.newName()
	equalLists("offsets", s.write(topic, []record{text("first")}, writing{}), []int64{0})
	waitUntil("the topic is listed", func() bool { return s.listed(topic) })
	check(s.partitions(topic) > 0, "it has no partitions")
	equalLists("values", values(s.readAll(topic, reading{})), []string{"first"})
}

func logAppendTime(s *suite) {
	topic := s.newTopic(1, map[string]string{"message.timestamp.type": "LogAppendTime"})
	before := nowMS()
	s.write(topic, []record{{value: []byte("value"), time: before - 3_600_000}}, writing{codec: "gzip"})
	found := s.readAll(topic, reading{})[0].time
	check(before <= found && found <= nowMS(), "timestamp %d ms after sending", found-before)
}
