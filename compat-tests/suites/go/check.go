package main

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
)

// How long anything may take; every client is told so, and none can hang.
const patience = 10 * time.Second

// The broker's errors, by their codes.
const (
	offsetOutOfRange        = 1
	unknownTopicOrPartition = 3
	messageTooLarge         = 10
	metadataTooLarge        = 12
	invalidTopic            = 17
	illegalGeneration       = 22
	unknownMember           = 25
	topicAlreadyExists      = 36
	invalidPartitions       = 37
	invalidConfig           = 40
	invalidEpoch            = 47
	invalidTxnState         = 48
	nonEmptyGroup           = 68
	groupNotFound           = 69
	fencedInstance          = 82
	subscribedToTopic       = 86
	producerIsFenced        = 90
)

// A scenario panics with what was wrong; main recovers and tells it.
func check(holds bool, format string, args ...any) {
	if !holds {
		panic(fmt.Sprintf(format, args...))
	}
}

func short(value any) string {
	text := fmt.Sprintf("%+v", value)
	if len(text) > 200 {
		return text[:200] + "..."
	}
	return text
}

func equal(what string, actual, expected any) {
	check(reflect.DeepEqual(actual, expected), "%s: %s, not %s", what, short(actual), short(expected))
}

// equalLists names the first difference: whole lists would bury it.
func equalLists[T any](what string, actual, expected []T) {
	for i := range min(len(actual), len(expected)) {
		equal(fmt.Sprintf("%s, at %d", what, i), actual[i], expected[i])
	}
	equal(what+", how many", len(actual), len(expected))
}

func waitUntil(what string, holds func() bool) {
	waitWithin(patience, what, holds)
}

func waitWithin(limit time.Duration, what string, holds func() bool) {
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(20 * time.Millisecond) {
		check(time.Now().Before(deadline), "not within %s: %s", limit, what)
	}
}

func must[T any](value T, err error) T {
	do(err)
	return value
}

func do(err error) {
	if err != nil {
		panic(err.Error())
	}
}

// code is the broker's error in an error of either client, 0 where there is none.
func code(err error) int {
	var franz *kerr.Error
	var sarama_ sarama.KError
	switch {
	case errors.As(err, &franz):
		return int(franz.Code)
	case errors.As(err, &sarama_):
		return int(sarama_)
	}
	return 0
}

func refused(what string, expected int, err error) {
	check(err != nil, "%s was not refused", what)
	check(code(err) == expected, "error of %s: %d, not %d: %v", what, code(err), expected, err)
}

func nowMS() int64 {
	return time.Now().UnixMilli()
}
