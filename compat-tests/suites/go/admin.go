package main

import (
	"fmt"
	"time"
)

func adminScenarios() []scenario {
	return []scenario{
		{"topic created with partitions and configs", created},
		{"topic creation refused", creationRefused},
		{"partitions grow and never shrink", grown},
		{"topic deleted and created again", createdAgain},
		{"cluster and topic described", described},
		{"configs described", configsDescribed},
		{"config altered", configAltered},
		{"unknown topic is told", unknownTopic},
	}
}

func checkConfig(s *suite, topic, name, value string, source int) {
	equal(name, s.configs(topic)[name], config{value, source})
}

func created(s *suite) {
	topic := s.newTopic(3, map[string]string{"retention.ms": "7200000", "message.timestamp.type": "LogAppendTime"})
	checkConfig(s, topic, "retention.ms", "7200000", dynamicTopicConfig)
	checkConfig(s, topic, "message.timestamp.type", "LogAppendTime", dynamicTopicConfig)
}

func creationRefused(s *suite) {
	topic, other := s.newTopic(1, nil), s.newName()
	refused("creating it again", topicAlreadyExists, s.create(topic, 1, nil))
	refused("a bad name", invalidTopic, s.create("no spaces!", 1, nil))
	refused("an unknown config", invalidConfig, s.create(other, 1, map[string]string{"no.such.config": "1"}))
	refused("a bad value", invalidConfig, s.create(other, 1, map[string]string{"retention.ms": "soon"}))
	check(!s.listed(other), "a refused topic was created")
}

func grown(s *suite) {
	topic := s.newTopic(3, nil)
	s.write(topic, []record{text("before")}, writing{})
	do(s.grow(topic, 5))
	waitUntil("5 partitions", func() bool { return s.partitions(topic) == 5 })
	after := record{value: []byte("after"), partition: 4}
	equalLists("offsets", s.write(topic, []record{after}, writing{}), []int64{0})
	r := s.read(topic, reading{partitions: 5, start: earliest})
	defer r.close()
	found := take(r, 2)
	equalLists("records of partition 0", values(partitionOf(found, 0)), []string{"before"})
	equalLists("records of partition 4", values(partitionOf(found, 4)), []string{"after"})
	for _, count := range []int{2, 5} {
		refused(fmt.Sprint(count, " partitions"), invalidPartitions, s.grow(topic, count))
	}
}

func createdAgain(s *suite) {
	topic := s.newTopic(1, nil)
	s.write(topic, []record{text("old")}, writing{})
	do(s.delete(topic))
	waitUntil("the topic is gone", func() bool { return !s.listed(topic) })
	s.createAndWait(topic, 1, nil)
	checkEnds(s, topic, 0, 0)
	equalLists("offsets", s.write(topic, []record{text("new")}, writing{}), []int64{0})
	equalLists("values", values(s.readAll(topic, reading{})), []string{"new"})
}

func described(s *suite) {
	topic := s.newTopic(3, nil)
	cluster := s.cluster()
	check(cluster.id != "", "no cluster id")
	equal("address", cluster.address, s.bootstrap)
	equal("controller", cluster.controller, cluster.node)
	check(s.listed(topic), "it is not listed")
	alone := partition{cluster.node, []int32{cluster.node}, []int32{cluster.node}}
	equalLists("partitions", must(s.describe(topic)), []partition{alone, alone, alone})
}

func configsDescribed(s *suite) {
	topic := s.newTopic(1, map[string]string{"retention.ms": "7200000"})
	checkConfig(s, topic, "retention.ms", "7200000", dynamicTopicConfig)
	for name, value := range map[string]string{
		"max.message.bytes":      "1048588",
		"cleanup.policy":         "delete",
		"compression.type":       "producer",
		"message.timestamp.type": "CreateTime",
		"segment.bytes":          "1073741824",
	} {
		checkConfig(s, topic, name, value, defaultConfig)
	}
}

func configAltered(s *suite) {
	topic := s.newTopic(1, map[string]string{"message.timestamp.type": "LogAppendTime"})
	for _, step := range []struct {
		value *string
		seen  config
	}{
		{pointer("3600000"), config{"3600000", dynamicTopicConfig}},
		{nil, config{"604800000", defaultConfig}},
	} {
		s.alter(topic, "retention.ms", step.value)
		waitUntil(fmt.Sprint("retention.ms is ", step.seen), func() bool { return s.configs(topic)["retention.ms"] == step.seen })
		checkConfig(s, topic, "message.timestamp.type", "LogAppendTime", dynamicTopicConfig)
	}
}

func unknownTopic(s *suite) {
	topic := s.newName()
	_, err := s.describe(topic)
	refused("describing it", unknownTopicOrPartition, err)
	time.Sleep(100 * time.Millisecond)
	check(!s.listed(topic), "asking created it")
}
