// A TCP proxy as Go programs have it: a goroutine for each direction and io.Copy between two
// TCPConns, which splices where it can. Usage: main LISTEN BACKEND...
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	backends := os.Args[2:]
	var turn atomic.Uint64
	for {
		client, err := listener.Accept()
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		backend := backends[turn.Add(1)%uint64(len(backends))]
		go serve(client.(*net.TCPConn), backend)
	}
}

func serve(client *net.TCPConn, backend string) {
	dialed, err := net.DialTimeout("tcp", backend, 10*time.Second)
	if err != nil {
		client.Close()
		return
	}
	upstream := dialed.(*net.TCPConn)
	done := make(chan struct{})
	go func() {
		copyTo(upstream, client)
		close(done)
	}()
	copyTo(client, upstream)
	<-done
	client.Close()
	upstream.Close()
}

func copyTo(sink, source *net.TCPConn) {
	io.Copy(sink, source)
	sink.CloseWrite()
}
