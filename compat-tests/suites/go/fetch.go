package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

func fetchScenarios() []scenario {
	return []scenario{
		{"fetch from the middle of a batch", middleOfBatch},
		{"large record through a small fetch", largeRecord},
		{"fetch waits for a record", waits},
		{"offset out of range", outOfRange},
		{"many partitions are all read", manyPartitions},
		{"read committed sees plain records", readCommitted},
	}
}

func middleOfBatch(s *suite) {
	topic := s.newTopic(1, nil)
	s.write(topic, numbered(100), writing{codec: "lz4", oneBatch: true})
	r := s.read(topic, reading{partitions: 1, start: 57})
	defer r.close()
	found := take(r, 43)
	equalLists("offsets", offsets(found), sequence(57, 100))
	equalLists("values", values(found), values(numbered(100))[57:])
}

func largeRecord(s *suite) {
	topic := s.newTopic(1, nil)
	sent := []string{"small", strings.Repeat("x", 500_000), "after"}
	for _, value := range sent {
		s.write(topic, []record{text(value)}, writing{})
	}
	equalLists("values", values(s.readAll(topic, reading{fetchMax: 1_000})), sent)
}

func waits(s *suite) {
	const wait = 5 * time.Second
	topic := s.newTopic(1, nil)
	r := s.read(topic, reading{partitions: 1, start: earliest, wait: wait})
	defer r.close()
	produced := make(chan int64, 1)
	go func() {
		time.Sleep(700 * time.Millisecond)
		produced <- nowMS()
		s.produce(topic, []record{text("later")}, writing{})
	}()
	found := take(r, 1)
	equalLists("values", values(found), []string{"later"})
	took := found[0].at - <-produced
	check(took < wait.Milliseconds()/2, "it was read %d ms after it was produced", took)
}

func outOfRange(s *suite) {
	topic := s.newTopic(1, nil)
	s.write(topic, numbered(10), writing{})
	r := s.read(topic, reading{partitions: 1, start: 1_000_000, reset: earliest})
	equalLists("values from the earliest", values(take(r, 10)), values(numbered(10)))
	r.close()
	r = s.read(topic, reading{partitions: 1, start: 1_000_000, reset: latest})
	defer r.close()
	var found []record
	for sent := 10; len(found) == 0; sent++ {
		check(sent < 40, "nothing of %d new records", sent-10)
		s.write(topic, []record{text(fmt.Sprint("new ", sent))}, writing{})
		found = r.poll(300 * time.Millisecond)
	}
	check(found[0].offset >= 10, "the latest gave offset %d, older than the reader", found[0].offset)
	equal("value", string(found[0].value), fmt.Sprint("new ", found[0].offset))
}

func manyPartitions(s *suite) {
	topic := s.newTopic(16, nil)
	var sent []record
	for p := range int32(16) {
		sent = append(sent, onPartition(p, 100)...)
	}
	s.write(topic, sent, writing{})
	r := s.read(topic, reading{partitions: 16, start: earliest, fetchMax: 20_000})
	defer r.close()
	found := take(r, 1_600)
	for p := range int32(16) {
		equalLists(fmt.Sprint("offsets of partition ", p), offsets(partitionOf(found, p)), sequence(0, 100))
		equalLists(fmt.Sprint("values of partition ", p), values(partitionOf(found, p)), values(onPartition(p, 100)))
	}
}

func readCommitted(s *suite) {
	topic := s.newTopic(1, nil)
	s.write(topic, numbered(10), writing{})
	equalLists("values", values(s.readAll(topic, reading{committed: true})), values(numbered(10)))
}

func onPartition(partition int32, count int) []record {
	var all []record
	for i := range count {
		value := fmt.Appendf(nil, "%d %s", i, bytes.Repeat([]byte("x"), 500))
		all = append(all, record{value: value, partition: partition})
	}
	return all
}
