package main

import (
	"fmt"
	"slices"
	"time"
)

// Where an offset lies, besides a time in ms.
const (
	latest   = -1
	earliest = -2
	maxTime  = -3
)

// Where a config's value comes from.
const (
	dynamicTopicConfig = 1
	defaultConfig      = 5
)

type header struct {
	name  string
	value []byte
}

type record struct {
	key, value []byte
	headers    []header
	// In ms; 0 lets the client choose.
	time      int64
	partition int32
	offset    int64
	// When the client gave it to us, in ms.
	at int64
}

// header is the one value of a header as text, empty without such a header.
func (r record) header(name string) string {
	var values []string
	for _, h := range r.headers {
		if h.name == name {
			values = append(values, string(h.value))
		}
	}
	check(len(values) < 2, "header %s is there %d times", name, len(values))
	return append(values, "")[0]
}

type writing struct {
	codec, acks          string
	idempotent, oneBatch bool
	// Bytes; 0 leaves the client's default.
	batchMax, requestMax int
}

type outcome struct {
	offset int64
	err    error
}

type reading struct {
	partitions int
	// An offset, latest or earliest.
	start int64
	// What to do where start is out of range: latest, earliest, or 0 for an error.
	reset     int64
	committed bool
	fetchMax  int32
	wait      time.Duration
}

type partition struct {
	leader        int32
	replicas, isr []int32
}

type config struct {
	value  string
	source int
}

type about struct {
	id         string
	controller int32
	node       int32
	address    string
}

type polled interface {
	poll(time.Duration) []record
}

type reader interface {
	polled
	close()
}

// driver is what the scenarios ask of a client. Errors are the client's, with the broker's error inside.
type driver interface {
	// lacks says for a scenario why this client has no way to do it.
	lacks() map[string]string
	create(topic string, partitions int, configs map[string]string) error
	delete(topic string) error
	grow(topic string, count int) error
	deleteRecords(topic string, before int64) error
	topics() []string
	// describe asks for one topic without creating it.
	describe(topic string) ([]partition, error)
	cluster() about
	configs(topic string) map[string]config
	// alter sets a config of a topic, or takes it back where value is nil.
	alter(topic, name string, value *string)
	// offset is that of partition 0, -1 where there is none.
	offset(topic string, at int64) int64
	produce(topic string, records []record, how writing) []outcome
	read(topic string, how reading) reader
	groups() []string
	describeGroup(name string) group
	deleteGroup(group string) error
	committed(group, topic string) map[int32]committed
	// commit is by no member of the group.
	commit(group, topic string, offsets map[int32]committed) error
	// alterOffsets is the same, as the client's admin does it.
	alterOffsets(group, topic string, offsets map[int32]committed) error
	commitAs(group, topic string, offsets map[int32]committed, member string, generation int32) error
	deleteOffset(group, topic string, partition int32) error
	join(topic, group string, how joining) member
	transact(how transacting) transactor
	work(how transacting, source, group string) worker
	close()
}

// suite is a driver and what can be made of it.
type suite struct {
	driver
	bootstrap string
	prefix    string
	count     int
}

// newName is a name of a topic or a group that no other run uses.
func (s *suite) newName() string {
	s.count++
	return fmt.Sprintf("%s-%d", s.prefix, s.count)
}

func (s *suite) newTopic(partitions int, configs map[string]string) string {
	topic := s.newName()
	s.createAndWait(topic, partitions, configs)
	return topic
}

func (s *suite) createAndWait(topic string, partitions int, configs map[string]string) {
	do(s.create(topic, partitions, configs))
	waitUntil(fmt.Sprint(partitions, " partitions"), func() bool { return s.partitions(topic) == partitions })
}

// partitions is how many a topic has, 0 where there is none.
func (s *suite) partitions(topic string) int {
	found, err := s.describe(topic)
	if err != nil {
		refused("describing", unknownTopicOrPartition, err)
	}
	return len(found)
}

func (s *suite) listed(topic string) bool {
	return slices.Contains(s.topics(), topic)
}

// write returns the offsets of records that are all taken.
func (s *suite) write(topic string, records []record, how writing) []int64 {
	var offsets []int64
	for _, outcome := range s.produce(topic, records, how) {
		do(outcome.err)
		offsets = append(offsets, outcome.offset)
	}
	return offsets
}

// take returns the next records.
func take(r polled, count int) []record {
	var taken []record
	for deadline := time.Now().Add(patience); len(taken) < count; {
		check(time.Now().Before(deadline), "%d of %d records within %s", len(taken), count, patience)
		taken = append(taken, r.poll(100*time.Millisecond)...)
	}
	equal("records", len(taken), count)
	return taken
}

// readAll returns partition 0 from its beginning to its end, every offset once.
func (s *suite) readAll(topic string, how reading) []record {
	begin, end := s.offset(topic, earliest), s.offset(topic, latest)
	how.start, how.partitions = earliest, 1
	r := s.read(topic, how)
	defer r.close()
	found := take(r, int(end-begin))
	equalLists("offsets read", offsets(found), sequence(begin, end))
	return found
}

func (s *suite) reader(topic string) reader {
	return s.read(topic, reading{start: earliest, partitions: 1})
}

func values(records []record) []string {
	all := []string{}
	for _, r := range records {
		all = append(all, string(r.value))
	}
	return all
}

func offsets(records []record) []int64 {
	all := []int64{}
	for _, r := range records {
		all = append(all, r.offset)
	}
	return all
}

func sequence(from, to int64) []int64 {
	all := []int64{}
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

func numbered(count int) []record {
	var all []record
	for i := range count {
		all = append(all, text(fmt.Sprint("value ", i)))
	}
	return all
}

func text(value string) record {
	return record{value: []byte(value)}
}

func pointer[T any](value T) *T {
	return &value
}

func partitionOf(records []record, partition int32) []record {
	return slices.DeleteFunc(slices.Clone(records), func(r record) bool { return r.partition != partition })
}
