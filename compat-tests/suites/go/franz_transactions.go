package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

type franzTransactor struct {
	bootstrap, name string
	client          *kgo.Client
	// A worker's: it ends transactions, with the offsets of what it gave.
	session *kgo.GroupTransactSession
}

func (f *franz) transactional(how transacting) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(franzCodec(how.codec)),
		kgo.TransactionalID(how.name),
		kgo.TransactionTimeout(how.timeout),
	}
}

func (f *franz) transact(how transacting) transactor {
	client := must(kgo.NewClient(f.transactional(how)...))
	// It would be made ready by the first record.
	_, _, err := client.ProducerID(asking())
	do(err)
	return &franzTransactor{bootstrap: f.bootstrap, name: how.name, client: client}
}

func (f *franz) work(how transacting, source, group string) worker {
	session := must(kgo.NewGroupTransactSession(append(f.transactional(how),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(source),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(heartbeatTime),
	)...))
	return &franzTransactor{bootstrap: f.bootstrap, name: how.name, client: session.Client(), session: session}
}

func (t *franzTransactor) begin() error {
	if t.session != nil {
		return t.session.Begin()
	}
	return t.client.BeginTransaction()
}

func (t *franzTransactor) write(topic string, records []record) error {
	var all []*kgo.Record
	for _, r := range records {
		all = append(all, franzRecord(topic, r))
	}
	return t.client.ProduceSync(asking(), all...).FirstErr()
}

// offset is of our own making: this client commits in a transaction only as a worker.
func (t *franzTransactor) offset(group, topic string, offset int64) error {
	id, epoch, err := t.client.ProducerID(asking())
	do(err)
	// The last version that has names for topics, and no ids.
	client := must(kgo.NewClient(kgo.SeedBrokers(t.bootstrap), kgo.MaxVersions(kversion.V3_9_0())))
	defer client.Close()
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = t.name, id, epoch, group
	if err := kerr.ErrorForCode(must(add.RequestWith(asking(), client)).ErrorCode); err != nil {
		return err
	}
	request := kmsg.NewPtrTxnOffsetCommitRequest()
	request.TransactionalID, request.ProducerID, request.ProducerEpoch, request.Group = t.name, id, epoch, group
	one := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	one.Partition, one.Offset = 0, offset
	of := kmsg.NewTxnOffsetCommitRequestTopic()
	of.Topic, of.Partitions = topic, append(of.Partitions, one)
	request.Topics = append(request.Topics, of)
	return kerr.ErrorForCode(must(request.RequestWith(asking(), client)).Topics[0].Partitions[0].ErrorCode)
}

func (t *franzTransactor) commit() error { return t.end(kgo.TryCommit) }

func (t *franzTransactor) abort() error { return t.end(kgo.TryAbort) }

func (t *franzTransactor) end(how kgo.TransactionEndTry) error {
	if t.session == nil {
		return t.client.EndTransaction(asking(), how)
	}
	done, err := t.session.End(asking(), how)
	check(err != nil || done == bool(how), "the session has committed: %t, not %t", done, bool(how))
	return err
}

func (t *franzTransactor) close() { t.client.Close() }

func (t *franzTransactor) poll(wait time.Duration) []record {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return franzRecords(ctx, t.session.PollRecords(ctx, 1))
}

func (t *franzTransactor) processed(record) error { return nil }
