package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A broker looks for transactions past their timeout every 10 s.
const timedOut = 60 * time.Second

// transacting is how a producer is made; by zero values, with a name that no other has, and a minute for a transaction.
type transacting struct {
	name, codec string
	timeout     time.Duration
}

// transactor is a producer with a transactional id, ready to begin. To close it leaves an open transaction open.
type transactor interface {
	begin() error
	// write waits until all records are taken.
	write(topic string, records []record) error
	// offset adds one of partition 0, by no member of the group.
	offset(group, topic string, offset int64) error
	commit() error
	abort() error
	close()
}

// worker is a transactor and a member of a group, which gives a record a poll.
type worker interface {
	transactor
	poll(time.Duration) []record
	// processed adds to the transaction the offset after a record that the worker has read last, as the member that it is.
	processed(record) error
}

func transactionScenarios() []scenario {
	return []scenario{
		{"a committed transaction is read once", committedOnce},
		{"an aborted transaction is never read as committed", abortedUnseen},
		{"offsets in a transaction count when it commits", transactionOffsets},
		{"a worker that restarts transforms each record once", workerRestarts},
		{"a producer of the same transactional id fences the first", producerFenced},
		{"a transaction past its timeout is aborted", transactionTimeout},
		{"a transaction over topics is all or nothing", allOrNothing},
		{"an open transaction holds back what follows", lastStable},
		{"transactions interleave in a partition", interleaved},
		{"a producer goes on after an abort", goesOn},
		{"an empty transaction commits", emptyTransaction},
		{"fields and codecs inside a transaction", transactionFields},
	}
}

func (s *suite) transactor(how transacting) transactor {
	if how.name == "" {
		how.name = s.newName()
	}
	if how.timeout == 0 {
		how.timeout = time.Minute
	}
	return s.transact(how)
}

func texts(values ...string) []record {
	var all []record
	for _, value := range values {
		all = append(all, text(value))
	}
	return all
}

func begin(t transactor, topic string, values ...string) {
	do(t.begin())
	do(t.write(topic, texts(values...)))
}

// readUpTo is all that is there, in order: a record that no transaction holds is written last, and read up to.
func (s *suite) readUpTo(topic string, isCommitted bool, limit time.Duration) []record {
	end := "end " + s.newName()
	s.write(topic, texts(end), writing{})
	r := s.read(topic, reading{start: earliest, partitions: 1, committed: isCommitted})
	defer r.close()
	var found []record
	waitWithin(limit, "the last record of "+topic+" is read", func() bool {
		found = append(found, r.poll(100*time.Millisecond)...)
		return len(found) > 0 && string(found[len(found)-1].value) == end
	})
	return slices.DeleteFunc(found, func(r record) bool { return strings.HasPrefix(string(r.value), "end ") })
}

func (s *suite) reads(topic string, kept, everything []string) {
	equalLists("read_committed", values(s.readUpTo(topic, true, patience)), kept)
	equalLists("read_uncommitted", values(s.readUpTo(topic, false, patience)), everything)
}

func epochOver(what string, err error, besides ...int) {
	check(err != nil, "%s was not refused", what)
	expected := append(besides, invalidEpoch, producerIsFenced)
	check(slices.Contains(expected, code(err)), "error of %s: %d, not one of %v: %v", what, code(err), expected, err)
}

func committedOnce(s *suite) {
	topic := s.newTopic(1, nil)
	t := s.transactor(transacting{})
	defer t.close()
	do(t.begin())
	do(t.write(topic, numbered(100)))
	do(t.commit())
	equal("offset after the marker", s.write(topic, texts("end of the first"), writing{}), []int64{101})
	s.reads(topic, values(numbered(100)), values(numbered(100)))
}

func abortedUnseen(s *suite) {
	topic := s.newTopic(1, nil)
	s.write(topic, texts("before"), writing{})
	t := s.transactor(transacting{})
	defer t.close()
	begin(t, topic, "one", "two")
	do(t.abort())
	s.reads(topic, []string{"before"}, []string{"before", "one", "two"})
}

// counts waits: a commit is answered before all that it brings about is done.
func (s *suite) counts(group, topic string, offset int64) {
	waitUntil(fmt.Sprint("committed is ", offset), func() bool {
		found, ok := s.committed(group, topic)[0]
		return ok && found.offset == offset
	})
}

func transactionOffsets(s *suite) {
	topic, beside, group := s.newTopic(1, nil), s.newTopic(1, nil), s.newName()
	s.write(topic, numbered(10), writing{})
	t := s.transactor(transacting{})
	defer t.close()
	begin(t, beside, "with offsets")
	do(t.offset(group, topic, 3))
	checkCommitted(s, "before the commit", group, topic, map[int32]committed{})
	do(t.commit())
	s.counts(group, topic, 3)
	begin(t, beside, "with offsets")
	do(t.offset(group, topic, 7))
	do(t.abort())
	s.counts(group, topic, 3)
	m := s.join(topic, group, joining{})
	defer m.close()
	equalLists("offsets read", offsets(take(m, 7)), sequence(3, 10))
}

func workerRestarts(s *suite) {
	source, target := s.newTopic(1, nil), s.newTopic(1, nil)
	group, name := s.newName(), s.newName()
	s.write(source, numbered(30), writing{})
	transform(s, name, source, group, target, true, false)
	transform(s, name, source, group, target, true, true)
	var done []string
	for _, value := range values(numbered(30)) {
		done = append(done, "done "+value)
	}
	s.reads(target, done, slices.Concat(done[:20], done[10:]))
	s.counts(group, source, 30)
}

// transform is a worker that takes ten records at a time, and ends the transactions that it is told to.
func transform(s *suite, name, source, group, target string, ends ...bool) {
	w := s.work(transacting{name: name, timeout: time.Minute}, source, group)
	defer w.close()
	for _, end := range ends {
		do(w.begin())
		found := take(w, 10)
		var made []record
		for _, r := range found {
			made = append(made, text("done "+string(r.value)))
		}
		do(w.write(target, made))
		do(w.processed(found[9]))
		if end {
			do(w.commit())
		}
	}
}

func producerFenced(s *suite) {
	topic, name := s.newTopic(1, nil), s.newName()
	first := s.transactor(transacting{name: name})
	defer first.close()
	begin(first, topic, "first")
	second := s.transactor(transacting{name: name})
	defer second.close()
	begin(second, topic, "second")
	do(second.commit())
	epochOver("the first producer's commit", first.commit())
	s.reads(topic, []string{"second"}, []string{"first", "second"})
}

func transactionTimeout(s *suite) {
	topic, name := s.newTopic(1, nil), s.newName()
	late := s.transactor(transacting{name: name, timeout: time.Second})
	defer late.close()
	begin(late, topic, "late")
	equalLists("read_committed", values(s.readUpTo(topic, true, timedOut)), []string{})
	// Kafka may take it for a second end, with another outcome, of the transaction that it has aborted.
	epochOver("a commit after the timeout", late.commit(), invalidTxnState)
	next := s.transactor(transacting{name: name})
	defer next.close()
	begin(next, topic, "in time")
	do(next.commit())
	s.reads(topic, []string{"in time"}, []string{"late", "in time"})
}

func everywhere(value string) []record {
	var all []record
	for p := range int32(3) {
		all = append(all, record{value: []byte(value), partition: p})
	}
	return all
}

func allOrNothing(s *suite) {
	one, other := s.newTopic(3, nil), s.newTopic(1, nil)
	t := s.transactor(transacting{})
	defer t.close()
	for _, value := range []string{"aborted", "committed", "aborted too"} {
		begin(t, other, value)
		do(t.write(one, everywhere(value)))
		if value == "committed" {
			do(t.commit())
		} else {
			do(t.abort())
		}
	}
	s.reads(other, []string{"committed"}, []string{"aborted", "committed", "aborted too"})
	s.write(one, everywhere("end"), writing{})
	r := s.read(one, reading{start: earliest, partitions: 3, committed: true})
	defer r.close()
	found := take(r, 6)
	for p := range int32(3) {
		equalLists(fmt.Sprint("partition ", p), values(partitionOf(found, p)), []string{"committed", "end"})
	}
}

func lastStable(s *suite) {
	topic := s.newTopic(2, nil)
	t := s.transactor(transacting{})
	defer t.close()
	r := s.read(topic, reading{start: earliest, partitions: 2, committed: true})
	defer r.close()
	begin(t, topic, "open")
	s.write(topic, texts("after"), writing{})
	everything := s.reader(topic)
	defer everything.close()
	equalLists("read_uncommitted", values(take(everything, 2)), []string{"open", "after"})
	// The other partition's record comes by the fetches that ask for both.
	s.write(topic, []record{{value: []byte("beside"), partition: 1}}, writing{})
	equalLists("read before the end", values(take(r, 1)), []string{"beside"})
	do(t.commit())
	equalLists("read after the end", values(take(r, 2)), []string{"open", "after"})
}

func interleaved(s *suite) {
	topic := s.newTopic(1, nil)
	one, other := s.transactor(transacting{}), s.transactor(transacting{})
	defer one.close()
	defer other.close()
	r := s.read(topic, reading{start: earliest, partitions: 1, committed: true})
	defer r.close()
	begin(one, topic, "one 1")
	begin(other, topic, "other 1")
	do(one.write(topic, texts("one 2")))
	s.write(topic, texts("plain"), writing{})
	do(other.write(topic, texts("other 2")))
	do(one.commit())
	equalLists("before the other's end", values(take(r, 1)), []string{"one 1"})
	do(other.abort())
	s.reads(topic, []string{"one 1", "one 2", "plain"}, []string{"one 1", "other 1", "one 2", "plain", "other 2"})
}

func goesOn(s *suite) {
	topic := s.newTopic(1, nil)
	t := s.transactor(transacting{})
	defer t.close()
	var kept, everything []string
	for _, value := range values(numbered(3)) {
		begin(t, topic, "aborted "+value)
		do(t.abort())
		begin(t, topic, value)
		do(t.commit())
		kept = append(kept, value)
		everything = append(everything, "aborted "+value, value)
	}
	s.reads(topic, kept, everything)
}

func emptyTransaction(s *suite) {
	topic := s.newTopic(1, nil)
	t := s.transactor(transacting{})
	defer t.close()
	do(t.begin())
	do(t.commit())
	do(t.begin())
	do(t.abort())
	begin(t, topic, "first")
	do(t.commit())
	equalLists("offsets after empty transactions", offsets(s.readUpTo(topic, true, patience)), []int64{0})
}

func transactionFields(s *suite) {
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		topic := s.newTopic(1, nil)
		t := s.transactor(transacting{codec: codec})
		defer t.close()
		sent := map[string][]record{}
		for _, kind := range []string{"aborted", "committed"} {
			for i := range 50 {
				sent[kind] = append(sent[kind], record{
					key: fmt.Append(nil, "key ", i), value: fmt.Append(nil, kind, " ", i), time: 1_700_000_000_000 + int64(i),
					headers: []header{{"number", fmt.Append(nil, i)}},
				})
			}
			do(t.begin())
			do(t.write(topic, sent[kind]))
			if kind == "committed" {
				do(t.commit())
			} else {
				do(t.abort())
			}
		}
		found := s.readUpTo(topic, true, patience)
		equalLists("offsets with "+codec, offsets(found), sequence(51, 101))
		for i := range found {
			found[i].offset, found[i].at = 0, 0
		}
		equalLists("records with "+codec, found, sent["committed"])
	}
}
