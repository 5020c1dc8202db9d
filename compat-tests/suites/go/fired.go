package main

import "strconv"

// The one scenario about held records that every client has: a batch of attribute bit 13, and offsets that are holes.
func firedScenarios() []scenario {
	return []scenario{{"a fired record is read with its headers", firedRecord}}
}

func firedRecord(s *suite) {
	topic := s.newTopic(1, nil)
	due := nowMS() + 500
	r := s.reader(topic)
	defer r.close()
	held := record{key: []byte("key"), value: []byte("held"), headers: []header{
		{"mine", []byte("kept")}, {"chronos-deliver-at", []byte(strconv.FormatInt(due, 10))},
	}}
	equalLists("offsets", s.write(topic, []record{text("first"), held, text("last")}, writing{}), sequence(0, 3))
	plain := take(r, 2)
	equalLists("plain records", values(plain), []string{"first", "last"})
	equalLists("offsets of plain records", offsets(plain), []int64{0, 2})
	fired := take(r, 1)[0]
	check(fired.offset >= 3, "it fired at offset %d", fired.offset)
	equal("key and value", string(fired.key)+" "+string(fired.value), "key held")
	equal("its own header", fired.header("mine"), "kept")
	equal("chronos-due-at", fired.header("chronos-due-at"), strconv.FormatInt(due, 10))
	equal("chronos-schedule-id", fired.header("chronos-schedule-id"), "1")
	check(fired.header("chronos-created-at") != "", "no chronos-created-at")
	equal("chronos-deliver-at", fired.header("chronos-deliver-at"), "")
	check(fired.at >= due, "%d ms early", due-fired.at)
}
