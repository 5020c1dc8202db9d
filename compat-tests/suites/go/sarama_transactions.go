package main

import (
	"time"

	"github.com/IBM/sarama"
)

type saramaTransactor struct {
	producer sarama.SyncProducer
	member   *saramaMember
	left     []record
}

func (d *saramaDriver) transact(how transacting) transactor { return d.transactor(how) }

func (d *saramaDriver) transactor(how transacting) *saramaTransactor {
	c := saramaConfig()
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Compression = saramaCodecs[how.codec]
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	c.Producer.Transaction.ID = how.name
	c.Producer.Transaction.Timeout = how.timeout
	return &saramaTransactor{producer: must(sarama.NewSyncProducer([]string{d.bootstrap}, c))}
}

func (t *saramaTransactor) begin() error  { return t.producer.BeginTxn() }
func (t *saramaTransactor) commit() error { return t.producer.CommitTxn() }
func (t *saramaTransactor) abort() error  { return t.producer.AbortTxn() }

func (t *saramaTransactor) write(topic string, records []record) error {
	for _, one := range sendAll(t.producer, topic, records) {
		if one.err != nil {
			return one.err
		}
	}
	return nil
}

// offset is kept by this client until it commits.
func (t *saramaTransactor) offset(group, topic string, offset int64) error {
	return t.add(topic, offset, sarama.NewConsumerGroupMetadata(group))
}

func (t *saramaTransactor) add(topic string, offset int64, as *sarama.ConsumerGroupMetadata) error {
	one := []*sarama.PartitionOffsetMetadata{{Partition: 0, Offset: offset, LeaderEpoch: -1}}
	return t.producer.AddOffsetsToTxnWithGroupMetadata(map[string][]*sarama.PartitionOffsetMetadata{topic: one}, as)
}

func (t *saramaTransactor) close() {
	if t.member != nil {
		t.member.close()
	}
	_ = t.producer.Close()
}

func (d *saramaDriver) work(how transacting, source, group string) worker {
	t := d.transactor(how)
	t.member = d.join(source, group, joining{}).(*saramaMember)
	return t
}

func (t *saramaTransactor) poll(wait time.Duration) []record {
	if len(t.left) == 0 {
		t.left = t.member.poll(wait)
	}
	first := min(len(t.left), 1)
	taken := t.left[:first]
	t.left = t.left[first:]
	return taken
}

func (t *saramaTransactor) processed(last record) error {
	session := <-t.member.sessions
	t.member.sessions <- session
	return t.add(t.member.topic, last.offset+1, sarama.NewConsumerGroupMetadataFromSession(session, t.member.name, nil))
}
