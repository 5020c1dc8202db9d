package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// Longer than any scenario.
	sessionTime = 45 * time.Second
	// Often enough that a rebalance is noticed at once, and a partition that was added.
	heartbeatTime = 200 * time.Millisecond
	metadataTime  = 500 * time.Millisecond
)

type committed struct {
	offset   int64
	metadata string
}

// groupMember is a member as the broker tells it; its partitions are of one topic.
type groupMember struct {
	id, client string
	partitions []int32
}

type group struct {
	state, protocol string
	members         []groupMember
}

// joining is how a member joins; by zero values, with the range assignor, and from the earliest offset where none is committed.
type joining struct {
	fromLatest, cooperative bool
	// The name of a static member.
	instance string
	session  time.Duration
	line     *line
}

func (how joining) sessionTime() time.Duration {
	if how.session == 0 {
		return sessionTime
	}
	return how.session
}

// member reads a topic as a member of a group, whose name is its client id. To close it is to leave, unless it is static.
type member interface {
	reader
	commit(map[int32]int64) error
	claims() *claims
}

// claims are what was given to a member and taken from it: clients tell it from goroutines of their own.
type claims struct {
	lock         sync.Mutex
	given, taken []int32
}

func (c *claims) gave(partitions ...int32) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.given = append(c.given, partitions...)
}

func (c *claims) took(partitions ...int32) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.taken = append(c.taken, partitions...)
}

// history is all that was given and taken up to now, each in order.
func (c *claims) history() (given, taken []int32) {
	c.lock.Lock()
	defer c.lock.Unlock()
	return slices.Clone(c.given), slices.Clone(c.taken)
}

// partitions are what the member has now, sorted.
func (c *claims) partitions() []int32 {
	given, taken := c.history()
	for _, p := range taken {
		if at := slices.Index(given, p); at >= 0 {
			given = slices.Delete(given, at, at+1)
		}
	}
	slices.Sort(given)
	return given
}

// every is the partitions of a topic that has so many.
func every(count int) []int32 {
	all := []int32{}
	for p := range int32(count) {
		all = append(all, p)
	}
	return all
}

// settle waits until each of a topic's partitions belongs to one of the members, and each has its share.
func settle(count int, members ...member) {
	settleWithin(patience, count, members...)
}

func settleWithin(limit time.Duration, count int, members ...member) {
	var shares [][]int32
	defer func() {
		if wrong := recover(); wrong != nil {
			panic(fmt.Sprint(wrong, ", they have ", shares))
		}
	}()
	waitWithin(limit, fmt.Sprintf("%d partitions are shared evenly by %d members", count, len(members)), func() bool {
		shares = nil
		even := true
		for _, m := range members {
			shares = append(shares, m.claims().partitions())
			even = even && len(shares[len(shares)-1]) == count/len(members)
		}
		owned := slices.Concat(shares...)
		slices.Sort(owned)
		return even && slices.Equal(owned, every(count))
	})
}

// sharing is two members that have half of the topic's partitions each.
func (s *suite) sharing(topic, group string, count int) (member, member) {
	one, other := s.join(topic, group, joining{}), s.join(topic, group, joining{})
	settle(count, one, other)
	return one, other
}

// emptied is the group once its last member is gone.
func (s *suite) emptied(name string) group {
	waitUntil("the group is empty", func() bool { return s.describeGroup(name).state == "Empty" })
	return s.describeGroup(name)
}
