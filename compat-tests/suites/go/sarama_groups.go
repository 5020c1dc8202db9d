package main

import (
	"context"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

type saramaMember struct {
	driver *saramaDriver
	topic  string
	name   string
	group  sarama.ConsumerGroup
	seen   claims
	found  chan *sarama.ConsumerMessage
	// The last one: a session ends with each rebalance.
	sessions chan sarama.ConsumerGroupSession
	end      context.CancelFunc
}

func (d *saramaDriver) join(topic, group string, how joining) member {
	c := saramaConfig()
	c.ClientID = group
	c.Metadata.RefreshFrequency = metadataTime
	c.Consumer.MaxWaitTime = 100 * time.Millisecond
	c.Consumer.Return.Errors = true
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Group.InstanceId = how.instance
	c.Consumer.Group.Session.Timeout = how.sessionTime()
	c.Consumer.Group.Heartbeat.Interval = heartbeatTime
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	if how.fromLatest {
		c.Consumer.Offsets.Initial = sarama.OffsetNewest
	}
	if how.cooperative {
		c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	}
	if how.line != nil {
		c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, how.line
	}
	ctx, end := context.WithCancel(context.Background())
	m := &saramaMember{
		driver: d, topic: topic, name: group, end: end,
		group:    must(sarama.NewConsumerGroup([]string{d.bootstrap}, group, c)),
		found:    make(chan *sarama.ConsumerMessage, 1_000),
		sessions: make(chan sarama.ConsumerGroupSession, 1),
	}
	go func() {
		for ctx.Err() == nil && m.group.Consume(ctx, []string{topic}, m) == nil {
		}
	}()
	return m
}

// Setup, Cleanup and ConsumeClaim are the handler that sarama calls.
func (m *saramaMember) Setup(session sarama.ConsumerGroupSession) error {
	select {
	case <-m.sessions:
	default:
	}
	m.sessions <- session
	return nil
}

func (m *saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	m.seen.gave(claim.Partition())
	defer m.seen.took(claim.Partition())
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			m.found <- message
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *saramaMember) claims() *claims { return &m.seen }

func (m *saramaMember) close() {
	m.end()
	_ = m.group.Close()
}

func (m *saramaMember) poll(wait time.Duration) []record { return received(m.found, wait) }

// commit waits for its outcome: an error comes by a channel, and success is told by the broker alone.
func (m *saramaMember) commit(offsets map[int32]int64) (failed error) {
	session := <-m.sessions
	m.sessions <- session
	for p, offset := range offsets {
		session.MarkOffset(m.topic, p, offset, "")
	}
	session.Commit()
	waitUntil("a commit has its outcome", func() bool {
		select {
		case failed = <-m.group.Errors():
			return true
		default:
		}
		now := m.driver.committed(m.name, m.topic)
		for p, offset := range offsets {
			if one, ok := now[p]; !ok || one.offset != offset {
				return false
			}
		}
		return true
	})
	return failed
}

func (d *saramaDriver) groups() []string {
	var names []string
	for name := range must(d.admin.ListConsumerGroups()) {
		names = append(names, name)
	}
	return names
}

func (d *saramaDriver) describeGroup(name string) group {
	found := must(d.admin.DescribeConsumerGroups([]string{name}))[0]
	if found.Err != sarama.ErrNoError {
		do(found.Err)
	}
	all := group{state: found.State, protocol: found.Protocol}
	for id, m := range found.Members {
		one := groupMember{id: id, client: m.ClientId}
		if assigned := must(m.GetMemberAssignment()); assigned != nil {
			for _, partitions := range assigned.Topics {
				one.partitions = slices.Sorted(slices.Values(partitions))
			}
		}
		all.members = append(all.members, one)
	}
	return all
}

func (d *saramaDriver) deleteGroup(group string) error { return d.admin.DeleteConsumerGroup(group) }

func (d *saramaDriver) committed(group, topic string) map[int32]committed {
	found := must(d.admin.ListConsumerGroupOffsets(group, nil))
	if found.Err != sarama.ErrNoError {
		do(found.Err)
	}
	all := map[int32]committed{}
	for p, block := range found.Blocks[topic] {
		all[p] = committed{block.Offset, block.Metadata}
	}
	return all
}

func (d *saramaDriver) commit(group, topic string, offsets map[int32]committed) error {
	return d.commitAs(group, topic, offsets, "", sarama.GroupGenerationUndefined)
}

func (d *saramaDriver) commitAs(group, topic string, offsets map[int32]committed, member string, generation int32) error {
	request := &sarama.OffsetCommitRequest{
		Version: 7, ConsumerGroup: group, ConsumerGroupGeneration: generation, ConsumerID: member,
	}
	for p, c := range offsets {
		request.AddBlockWithLeaderEpoch(topic, p, c.offset, -1, 0, c.metadata)
	}
	answer := must(must(d.client.Coordinator(group)).CommitOffset(request))
	return firstError(answer.Errors[topic])
}

func (d *saramaDriver) alterOffsets(group, topic string, offsets map[int32]committed) error {
	all := map[int32]sarama.OffsetAndMetadata{}
	for p, c := range offsets {
		all[p] = sarama.OffsetAndMetadata{Offset: c.offset, LeaderEpoch: -1, Metadata: c.metadata}
	}
	answer, err := d.admin.AlterConsumerGroupOffsets(group, map[string]map[int32]sarama.OffsetAndMetadata{topic: all}, nil)
	if err != nil {
		return err
	}
	return firstError(answer.Errors[topic])
}

func firstError(errors map[int32]sarama.KError) error {
	for _, err := range errors {
		if err != sarama.ErrNoError {
			return err
		}
	}
	return nil
}

func (d *saramaDriver) deleteOffset(group, topic string, partition int32) error {
	return d.admin.DeleteConsumerGroupOffset(group, topic, partition)
}
