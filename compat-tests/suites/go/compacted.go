package main

import (
	"fmt"
	"slices"
	"time"
)

func compactedScenarios() []scenario {
	return []scenario{{"a compacted topic reads as its last values", lastValues}}
}

const (
	// In round r keys from r on are written; of each but the last ones an earlier round keeps the last record.
	rounds, keys = 4, 10
	// Kafka's cleaner looks each 15 s.
	cleaned = 60 * time.Second
)

func keyed(r, k int) record {
	return record{key: fmt.Appendf(nil, "k%d", k), value: fmt.Appendf(nil, "round %d of k%d", r, k)}
}

func (s *suite) toTheEnd(topic string, start int64) []record {
	end := s.offset(topic, latest)
	r := s.read(topic, reading{partitions: 1, start: start})
	defer r.close()
	var found []record
	for deadline := time.Now().Add(patience); len(found) == 0 || found[len(found)-1].offset < end-1; {
		check(time.Now().Before(deadline), "no end within %s", patience)
		found = append(found, r.poll(100*time.Millisecond)...)
	}
	check(slices.IsSorted(offsets(found)), "offsets ascend: %v", offsets(found))
	return slices.DeleteFunc(found, func(r record) bool { return string(r.key) == "tick" })
}

func lastValues(s *suite) {
	topic := s.newTopic(1, map[string]string{
		"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01",
	})
	var last []string
	for r := range rounds {
		var written []record
		for k := r; k < keys; k++ {
			written = append(written, keyed(r, k))
		}
		s.write(topic, written, writing{codec: []string{"none", "gzip"}[r%2]})
	}
	for k := range keys {
		last = append(last, string(keyed(min(k, rounds-1), k).value))
	}
	left := append([]int64{0, 10, 19}, sequence(27, 34)...)
	waitWithin(cleaned, "only the last record of each key is left", func() bool {
		// A segment is closed by what is written after its time, and the last record of all stays.
		time.Sleep(200 * time.Millisecond)
		s.write(topic, []record{{key: []byte("tick"), value: []byte("tick")}}, writing{})
		return slices.Equal(offsets(s.toTheEnd(topic, earliest)), left)
	})
	equalLists("values", values(s.toTheEnd(topic, earliest)), last)
	for start, first := range map[int64]int64{1: 10, 11: 19, 30: 30} {
		equal(fmt.Sprint("the first offset from ", start, " on"), s.toTheEnd(topic, start)[0].offset, first)
	}
	equal("the first offset", s.offset(topic, earliest), int64(0))
}
