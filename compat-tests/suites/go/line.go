package main

import (
	"context"
	"errors"
	"net"
	"sync"
)

// line is all the network of one client, which can be cut: what is left of the client has no way to say goodbye.
type line struct {
	lock  sync.Mutex
	isCut bool
	open  []net.Conn
}

var errCut = errors.New("the line is cut")

func (l *line) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.isCut {
		return nil, errCut
	}
	one, err := dialer.DialContext(ctx, network, address)
	if err == nil {
		l.open = append(l.open, one)
	}
	return one, err
}

// Dial is sarama's word for it.
func (l *line) Dial(network, address string) (net.Conn, error) {
	return l.DialContext(asking(), network, address)
}

func (l *line) cut() {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.isCut = true
	for _, one := range l.open {
		_ = one.Close()
	}
}
