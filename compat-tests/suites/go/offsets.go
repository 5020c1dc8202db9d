package main

import "fmt"

func offsetScenarios() []scenario {
	return []scenario{
		{"beginning and end", beginningAndEnd},
		{"offset for a time", forTime},
		{"offset of the max timestamp", ofMaxTimestamp},
		{"delete records", deleteRecords},
	}
}

func checkEnds(s *suite, topic string, begin, end int64) {
	equalLists("beginning and end", []int64{s.offset(topic, earliest), s.offset(topic, latest)}, []int64{begin, end})
}

// at is a record of each time after a base.
func at(base int64, later ...int64) []record {
	var all []record
	for _, ms := range later {
		all = append(all, record{value: []byte("value"), time: base + ms})
	}
	return all
}

func beginningAndEnd(s *suite) {
	topic := s.newTopic(1, nil)
	checkEnds(s, topic, 0, 0)
	s.write(topic, numbered(7), writing{})
	checkEnds(s, topic, 0, 7)
}

func forTime(s *suite) {
	topic := s.newTopic(1, nil)
	base := nowMS() - 60_000
	s.write(topic, at(base, 100, 300, 200, 400), writing{codec: "lz4", oneBatch: true})
	for later, offset := range map[int64]int64{0: 0, 100: 0, 150: 1, 250: 1, 300: 1, 301: 3, 400: 3, 401: -1} {
		equal(fmt.Sprint("offset for time +", later), s.offset(topic, base+later), offset)
	}
}

func ofMaxTimestamp(s *suite) {
	topic := s.newTopic(1, nil)
	base := nowMS() - 60_000
	s.write(topic, at(base, 100, 300, 200), writing{oneBatch: true})
	s.write(topic, at(base, 150), writing{})
	equal("offset", s.offset(topic, maxTime), int64(1))
}

func deleteRecords(s *suite) {
	topic := s.newTopic(1, nil)
	s.write(topic, numbered(10), writing{})
	do(s.deleteRecords(topic, 4))
	checkEnds(s, topic, 4, 10)
	equalLists("values", values(s.readAll(topic, reading{})), values(numbered(10))[4:])
	refused("deleting beyond the end", offsetOutOfRange, s.deleteRecords(topic, 11))
}
