package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type franz struct {
	bootstrap string
	admin     *kadm.Client
	// Whether members join by the protocol in which the broker assigns.
	consumerProtocol bool
}

func newFranz(bootstrap string) driver {
	return &franz{bootstrap: bootstrap, admin: kadm.NewClient(must(kgo.NewClient(kgo.SeedBrokers(bootstrap))))}
}

func (f *franz) lacks() map[string]string { return nil }

func (f *franz) close() { f.admin.Close() }

// asking ends what takes too long.
func asking() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	time.AfterFunc(patience, cancel)
	return ctx
}

func (f *franz) create(topic string, partitions int, configs map[string]string) error {
	all := map[string]*string{}
	for name, value := range configs {
		all[name] = &value
	}
	_, err := f.admin.CreateTopic(asking(), int32(partitions), 1, all, topic)
	return err
}

func (f *franz) delete(topic string) error {
	_, err := f.admin.DeleteTopic(asking(), topic)
	return err
}

func (f *franz) grow(topic string, count int) error {
	answer := must(f.admin.UpdatePartitions(asking(), count, topic))
	return answer.Error()
}

func (f *franz) deleteRecords(topic string, before int64) error {
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, before, -1)
	answer := must(f.admin.DeleteRecords(asking(), offsets))
	return answer.Error()
}

func (f *franz) topics() []string {
	var names []string
	for name, found := range must(f.admin.ListTopics(asking())) {
		// Its cache of metadata has topics that it was told are not there.
		if found.Err == nil {
			names = append(names, name)
		}
	}
	return names
}

func (f *franz) describe(topic string) ([]partition, error) {
	found := must(f.admin.ListTopics(asking(), topic))[topic]
	var all []partition
	for _, p := range found.Partitions.Sorted() {
		all = append(all, partition{p.Leader, p.Replicas, p.ISR})
	}
	return all, found.Err
}

func (f *franz) cluster() about {
	found := must(f.admin.BrokerMetadata(asking()))
	equal("nodes", len(found.Brokers), 1)
	node := found.Brokers[0]
	return about{found.Cluster, found.Controller, node.NodeID, fmt.Sprintf("%s:%d", node.Host, node.Port)}
}

func (f *franz) configs(topic string) map[string]config {
	found := must(must(f.admin.DescribeTopicConfigs(asking(), topic)).On(topic, nil))
	do(found.Err)
	all := map[string]config{}
	for _, c := range found.Configs {
		all[c.Key] = config{c.MaybeValue(), int(c.Source)}
	}
	return all
}

func (f *franz) alter(topic, name string, value *string) {
	change := kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: value}
	if value == nil {
		change.Op = kadm.DeleteConfig
	}
	do(must(must(f.admin.AlterTopicConfigs(asking(), []kadm.AlterConfig{change}, topic)).On(topic, nil)).Err)
}

func (f *franz) offset(topic string, at int64) int64 {
	var found kadm.ListedOffsets
	switch at {
	case earliest:
		found = must(f.admin.ListStartOffsets(asking(), topic))
	case latest:
		found = must(f.admin.ListEndOffsets(asking(), topic))
	case maxTime:
		found = must(f.admin.ListMaxTimestampOffsets(asking(), topic))
	default:
		found = must(f.admin.ListOffsetsAfterMilli(asking(), at, topic))
	}
	one, ok := found.Lookup(topic, 0)
	check(ok, "no answer for partition 0")
	do(one.Err)
	// Where no record is as late, this client tells the end and no time.
	if at >= 0 && one.Timestamp == -1 {
		return -1
	}
	return one.Offset
}

func franzCodec(name string) kgo.CompressionCodec {
	codecs := map[string]kgo.CompressionCodec{
		"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	if codec, ok := codecs[name]; ok {
		return codec
	}
	return kgo.NoCompression()
}

func franzRecord(topic string, r record) *kgo.Record {
	sent := &kgo.Record{Topic: topic, Partition: r.partition, Key: r.key, Value: r.value}
	if r.time != 0 {
		sent.Timestamp = time.UnixMilli(r.time)
	}
	for _, h := range r.headers {
		sent.Headers = append(sent.Headers, kgo.RecordHeader{Key: h.name, Value: h.value})
	}
	return sent
}

func (f *franz) produce(topic string, records []record, how writing) []outcome {
	linger := 5 * time.Millisecond
	if how.oneBatch {
		linger = 300 * time.Millisecond
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.AllowAutoTopicCreation(),
		kgo.ProducerBatchCompression(franzCodec(how.codec)),
		kgo.ProducerLinger(linger),
	}
	if !how.idempotent {
		options = append(options, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
		acks := map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck()}
		if a, ok := acks[how.acks]; ok {
			options = append(options, kgo.RequiredAcks(a))
		}
	}
	if size := how.batchMax + how.requestMax; size > 0 {
		options = append(options, kgo.ProducerBatchMaxBytes(int32(size)))
	}
	client := must(kgo.NewClient(options...))
	defer client.Close()
	outcomes := make([]outcome, len(records))
	var left sync.WaitGroup
	for i, r := range records {
		left.Add(1)
		client.Produce(asking(), franzRecord(topic, r), func(r *kgo.Record, err error) {
			outcomes[i] = outcome{r.Offset, err}
			left.Done()
		})
	}
	left.Wait()
	return outcomes
}

type franzReader struct{ client *kgo.Client }

func (f *franz) read(topic string, how reading) reader {
	offset := map[int64]kgo.Offset{earliest: kgo.NewOffset().AtStart(), latest: kgo.NewOffset().AtEnd()}
	start, ok := offset[how.start]
	if !ok {
		start = kgo.NewOffset().At(how.start)
	}
	reset, ok := offset[how.reset]
	if !ok {
		reset = kgo.NoResetOffset()
	}
	assigned := map[int32]kgo.Offset{}
	for p := range how.partitions {
		assigned[int32(p)] = start
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: assigned}),
		kgo.ConsumeResetOffset(reset),
		kgo.FetchMaxWait(max(how.wait, 100*time.Millisecond)),
	}
	if how.committed {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if how.fetchMax > 0 {
		options = append(options, kgo.FetchMaxPartitionBytes(how.fetchMax), kgo.FetchMaxBytes(how.fetchMax))
	}
	return franzReader{must(kgo.NewClient(options...))}
}

func (r franzReader) close() { r.client.Close() }

func (r franzReader) poll(wait time.Duration) []record {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return franzRecords(ctx, r.client.PollFetches(ctx))
}

func franzRecords(ctx context.Context, fetches kgo.Fetches) []record {
	for _, err := range fetches.Errors() {
		if ctx.Err() == nil {
			do(err.Err)
		}
	}
	var all []record
	fetches.EachRecord(func(f *kgo.Record) {
		one := record{
			key: f.Key, value: f.Value, time: f.Timestamp.UnixMilli(), partition: f.Partition, offset: f.Offset, at: nowMS(),
		}
		for _, h := range f.Headers {
			one.headers = append(one.headers, header{h.Key, h.Value})
		}
		all = append(all, one)
	})
	return all
}
