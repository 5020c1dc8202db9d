package main

import (
	"errors"
	"time"

	"github.com/IBM/sarama"
)

type saramaDriver struct {
	bootstrap string
	client    sarama.Client
	admin     sarama.ClusterAdmin
}

var saramaCodecs = map[string]sarama.CompressionCodec{
	"gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func saramaConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Admin.Timeout = patience
	c.Net.ReadTimeout = patience
	return c
}

func newSarama(bootstrap string) driver {
	client := must(sarama.NewClient([]string{bootstrap}, saramaConfig()))
	return &saramaDriver{bootstrap, client, must(sarama.NewClusterAdminFromClient(client))}
}

func (d *saramaDriver) lacks() map[string]string {
	return map[string]string{
		"offset of the max timestamp": "sarama asks by ListOffsets 6 at most, KIP-734 needs 7",
	}
}

func (d *saramaDriver) close() { _ = d.admin.Close() }

func (d *saramaDriver) create(topic string, partitions int, configs map[string]string) error {
	detail := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1, ConfigEntries: map[string]*string{}}
	for name, value := range configs {
		detail.ConfigEntries[name] = &value
	}
	return d.admin.CreateTopic(topic, detail, false)
}

func (d *saramaDriver) delete(topic string) error { return d.admin.DeleteTopic(topic) }

func (d *saramaDriver) grow(topic string, count int) error {
	return d.admin.CreatePartitions(topic, int32(count), nil, false)
}

func (d *saramaDriver) deleteRecords(topic string, before int64) error {
	return d.admin.DeleteRecords(topic, map[int32]int64{0: before})
}

func (d *saramaDriver) topics() []string {
	do(d.client.RefreshMetadata())
	return must(d.client.Topics())
}

func (d *saramaDriver) describe(topic string) ([]partition, error) {
	found := must(d.admin.DescribeTopics([]string{topic}))[0]
	if found.Err != sarama.ErrNoError {
		return nil, found.Err
	}
	all := make([]partition, len(found.Partitions))
	for _, p := range found.Partitions {
		all[p.ID] = partition{p.Leader, p.Replicas, p.Isr}
	}
	return all, nil
}

func (d *saramaDriver) cluster() about {
	nodes, controller, err := d.admin.DescribeCluster()
	do(err)
	equal("nodes", len(nodes), 1)
	// DescribeCluster keeps the cluster's id to itself.
	request := sarama.NewMetadataRequest(sarama.MaxVersion, nil)
	broker := must(d.client.Controller())
	id := must(broker.GetMetadata(request)).ClusterID
	check(id != nil, "no cluster id")
	return about{*id, controller, nodes[0].ID(), nodes[0].Addr()}
}

func (d *saramaDriver) configs(topic string) map[string]config {
	resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: topic}
	all := map[string]config{}
	for _, c := range must(d.admin.DescribeConfig(resource)) {
		all[c.Name] = config{c.Value, int(c.Source)}
	}
	return all
}

func (d *saramaDriver) alter(topic, name string, value *string) {
	change := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: value}
	if value == nil {
		change.Operation = sarama.IncrementalAlterConfigsOperationDelete
	}
	changes := map[string]sarama.IncrementalAlterConfigsEntry{name: change}
	do(d.admin.IncrementalAlterConfig(sarama.TopicResource, topic, changes, false))
}

func (d *saramaDriver) offset(topic string, at int64) int64 {
	return must(d.client.GetOffset(topic, 0, at))
}

func (d *saramaDriver) produce(topic string, records []record, how writing) []outcome {
	c := saramaConfig()
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Return.Successes = true
	c.Producer.Timeout = patience
	c.Producer.Flush.Frequency = 5 * time.Millisecond
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Compression = saramaCodecs[how.codec]
	if acks, ok := map[string]sarama.RequiredAcks{"0": sarama.NoResponse, "1": sarama.WaitForLocal}[how.acks]; ok {
		c.Producer.RequiredAcks = acks
	}
	if how.idempotent {
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1
	}
	if how.oneBatch {
		c.Producer.Flush.Frequency = 300 * time.Millisecond
	}
	if how.batchMax > 0 {
		// A few records each.
		c.Producer.Flush.MaxMessages = how.batchMax / 50
	}
	if how.requestMax > 0 {
		c.Producer.MaxMessageBytes = how.requestMax
	}
	producer := must(sarama.NewSyncProducer([]string{d.bootstrap}, c))
	defer producer.Close()
	return sendAll(producer, topic, records)
}

func sendAll(producer sarama.SyncProducer, topic string, records []record) []outcome {
	messages := make([]*sarama.ProducerMessage, len(records))
	for i, r := range records {
		message := &sarama.ProducerMessage{Topic: topic, Partition: r.partition}
		if r.key != nil {
			message.Key = sarama.ByteEncoder(r.key)
		}
		if r.value != nil {
			message.Value = sarama.ByteEncoder(r.value)
		}
		if r.time != 0 {
			message.Timestamp = time.UnixMilli(r.time)
		}
		for _, h := range r.headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(h.name), Value: h.value})
		}
		messages[i] = message
	}
	failed := map[*sarama.ProducerMessage]error{}
	var failures sarama.ProducerErrors
	if err := producer.SendMessages(messages); errors.As(err, &failures) {
		for _, one := range failures {
			failed[one.Msg] = one.Err
		}
	} else {
		do(err)
	}
	outcomes := make([]outcome, len(records))
	for i, message := range messages {
		outcomes[i] = outcome{message.Offset, failed[message]}
	}
	return outcomes
}

type saramaReader struct {
	consumer   sarama.Consumer
	partitions []sarama.PartitionConsumer
	found      chan *sarama.ConsumerMessage
}

func (d *saramaDriver) read(topic string, how reading) reader {
	c := saramaConfig()
	c.Consumer.MaxWaitTime = max(how.wait, 100*time.Millisecond)
	if how.committed {
		c.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	if how.fetchMax > 0 {
		c.Consumer.Fetch.Default = how.fetchMax
	}
	r := &saramaReader{consumer: must(sarama.NewConsumer([]string{d.bootstrap}, c)), found: make(chan *sarama.ConsumerMessage)}
	for p := range how.partitions {
		one, err := r.consumer.ConsumePartition(topic, int32(p), how.start)
		if how.reset != 0 {
			// It resets nothing itself.
			refused("a start out of range", offsetOutOfRange, err)
			one, err = r.consumer.ConsumePartition(topic, int32(p), how.reset)
		}
		do(err)
		r.partitions = append(r.partitions, one)
		go func() {
			for message := range one.Messages() {
				r.found <- message
			}
		}()
	}
	return r
}

func (r *saramaReader) close() {
	for _, one := range r.partitions {
		one.AsyncClose()
	}
	go func() {
		for range r.found {
		}
	}()
	_ = r.consumer.Close()
}

func (r *saramaReader) poll(wait time.Duration) []record { return received(r.found, wait) }

// received is what comes within a time, and then what is there already.
func received(found chan *sarama.ConsumerMessage, wait time.Duration) []record {
	var all []record
	timer := time.After(wait)
	for {
		select {
		case m := <-found:
			one := record{
				key: m.Key, value: m.Value, time: m.Timestamp.UnixMilli(), partition: m.Partition, offset: m.Offset, at: nowMS(),
			}
			for _, h := range m.Headers {
				one.headers = append(one.headers, header{string(h.Key), h.Value})
			}
			all = append(all, one)
			// What is there already, without waiting for more.
			timer = time.After(time.Millisecond)
		case <-timer:
			return all
		}
	}
}
