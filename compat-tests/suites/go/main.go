// Drives a broker with a client: CLIENT BOOTSTRAP [ONLY], where CLIENT is franz or sarama and ONLY is common, groups or
// transactions (parts of it), own, or a part of the scenarios' names. ../SCENARIOS.md says what each proves.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// No scenario begins after this: a broker that answers nothing must not cost each its patience.
const limit = 240 * time.Second

type scenario struct {
	name string
	run  func(*suite)
}

func main() {
	clients := map[string]func(string) driver{"franz": newFranz, "sarama": newSarama}
	if len(os.Args) < 3 || clients[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "franz|sarama BOOTSTRAP [ONLY]")
		os.Exit(2)
	}
	s := &suite{
		driver:    clients[os.Args[1]](os.Args[2]),
		bootstrap: os.Args[2],
		prefix:    fmt.Sprintf("%s-%x", os.Args[1], time.Now().UnixNano()),
	}
	deadline := time.Now().Add(limit)
	passed, failed := 0, 0
	for _, one := range chosen(os.Args[1], append(os.Args, "")[3]) {
		if why := s.lacks()[one.name]; why != "" {
			fmt.Printf("SKIP %s: %s\n", one.name, why)
		} else if why := failure(s, one, deadline); why != "" {
			fmt.Printf("FAIL %s: %s\n", one.name, why[:min(len(why), 500)])
			failed++
		} else {
			fmt.Printf("ok %s\n", one.name)
			passed++
		}
	}
	s.close()
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func chosen(client, only string) []scenario {
	common := slices.Concat(produceScenarios(), fetchScenarios(), compactedScenarios(), offsetScenarios(), adminScenarios(), groupScenarios(),
		transactionScenarios())
	switch only {
	case "common":
		return common
	case "groups":
		return groupScenarios()
	case "transactions":
		return transactionScenarios()
	case "own":
		return firedScenarios()
	}
	all := append(common, firedScenarios()...)
	if client == "franz" {
		all = append(all, consumerProtocolScenarios()...)
	}
	return slices.DeleteFunc(all, func(s scenario) bool {
		return !strings.Contains(s.name, only)
	})
}

// failure is what was wrong in a scenario, empty where it passes.
func failure(s *suite, one scenario, deadline time.Time) (why string) {
	defer func() {
		if wrong := recover(); wrong != nil {
			why = strings.Join(strings.Fields(fmt.Sprint(wrong)), " ")
		}
	}()
	check(time.Now().Before(deadline), "not run, the suite's %s are over", limit)
	one.run(s)
	return ""
}
