package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

type franzMember struct {
	franzReader
	topic string
	seen  claims
}

func (f *franz) join(topic, group string, how joining) member {
	m := &franzMember{topic: topic}
	balancer, start := kgo.RangeBalancer(), kgo.NewOffset().AtStart()
	if how.cooperative {
		balancer = kgo.CooperativeStickyBalancer()
	}
	if how.fromLatest {
		start = kgo.NewOffset().AtEnd()
	}
	gave := func(_ context.Context, _ *kgo.Client, given map[string][]int32) { m.seen.gave(given[topic]...) }
	took := func(_ context.Context, _ *kgo.Client, taken map[string][]int32) { m.seen.took(taken[topic]...) }
	options := []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap),
		kgo.ClientID(group),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(start),
		kgo.Balancers(balancer),
		kgo.SessionTimeout(how.sessionTime()),
		kgo.HeartbeatInterval(heartbeatTime),
		kgo.MetadataMinAge(metadataTime / 2),
		kgo.MetadataMaxAge(metadataTime),
		kgo.FetchMaxWait(heartbeatTime),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(gave),
		kgo.OnPartitionsRevoked(took),
		kgo.OnPartitionsLost(took),
	}
	if f.consumerProtocol {
		options = append(options, kgo.ServerSideBalancer())
	}
	if how.instance != "" {
		options = append(options, kgo.InstanceID(how.instance))
	}
	if how.line != nil {
		options = append(options, kgo.Dialer(how.line.DialContext))
	}
	m.client = must(kgo.NewClient(options...))
	return m
}

func (m *franzMember) claims() *claims { return &m.seen }

func (m *franzMember) commit(offsets map[int32]int64) error {
	all := map[int32]kgo.EpochOffset{}
	for p, offset := range offsets {
		all[p] = kgo.EpochOffset{Epoch: -1, Offset: offset}
	}
	var failed error
	done := func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		failed = err
		for _, topic := range answer.Topics {
			for _, p := range topic.Partitions {
				failed = cmp.Or(failed, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	}
	m.client.CommitOffsetsSync(kgo.PreCommitFnContext(asking(), plainly), map[string]map[int32]kgo.EpochOffset{m.topic: all}, done)
	return failed
}

// plainly takes back the metadata that this client makes of its member id.
func plainly(request *kmsg.OffsetCommitRequest) error {
	for t := range request.Topics {
		for p := range request.Topics[t].Partitions {
			request.Topics[t].Partitions[p].Metadata = nil
		}
	}
	return nil
}

func (f *franz) groups() []string { return must(f.admin.ListGroups(asking())).Groups() }

func (f *franz) describeGroup(name string) group {
	found := must(f.admin.DescribeGroups(asking(), name))[name]
	do(found.Err)
	all := group{state: found.State, protocol: found.Protocol}
	for _, m := range found.Members {
		one := groupMember{id: m.MemberID, client: m.ClientID}
		if assigned, ok := m.Assigned.AsConsumer(); ok && len(assigned.Topics) > 0 {
			one.partitions = slices.Sorted(slices.Values(assigned.Topics[0].Partitions))
		}
		all.members = append(all.members, one)
	}
	return all
}

func (f *franz) deleteGroup(group string) error {
	_, err := f.admin.DeleteGroup(asking(), group)
	return err
}

func (f *franz) committed(group, topic string) map[int32]committed {
	all := map[int32]committed{}
	must(f.admin.FetchOffsets(asking(), group)).Each(func(o kadm.OffsetResponse) {
		do(o.Err)
		if o.Topic == topic {
			all[o.Partition] = committed{o.At, o.Metadata}
		}
	})
	return all
}

// commit is the admin's: a client without a group commits by no other way.
func (f *franz) commit(group, topic string, offsets map[int32]committed) error {
	all := kadm.Offsets{}
	for p, c := range offsets {
		all.Add(kadm.Offset{Topic: topic, Partition: p, At: c.offset, LeaderEpoch: -1, Metadata: c.metadata})
	}
	return f.admin.CommitAllOffsets(asking(), group, all)
}

func (f *franz) alterOffsets(group, topic string, offsets map[int32]committed) error {
	return f.commit(group, topic, offsets)
}

func (f *franz) commitAs(group, topic string, offsets map[int32]committed, member string, generation int32) error {
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.MemberID, request.Generation = group, member, generation
	of := kmsg.NewOffsetCommitRequestTopic()
	of.Topic = topic
	for p, c := range offsets {
		one := kmsg.NewOffsetCommitRequestTopicPartition()
		one.Partition, one.Offset, one.Metadata = p, c.offset, &c.metadata
		of.Partitions = append(of.Partitions, one)
	}
	request.Topics = append(request.Topics, of)
	// The last version that has names for topics, and no ids.
	client := must(kgo.NewClient(kgo.SeedBrokers(f.bootstrap), kgo.MaxVersions(kversion.V3_9_0())))
	defer client.Close()
	answer := must(request.RequestWith(asking(), client))
	return kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
}

func (f *franz) deleteOffset(group, topic string, partition int32) error {
	which := kadm.TopicsSet{}
	which.Add(topic, partition)
	answer := must(f.admin.DeleteOffsets(asking(), group, which))
	return answer.Error()
}
