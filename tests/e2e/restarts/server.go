// What Go does: http.Server.Shutdown on SIGTERM, for the comparison in mod.rs.
package main

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	http.HandleFunc("/work", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(2 * time.Millisecond)
		w.Header().Set("replica", os.Getenv("ADDR"))
		io.WriteString(w, "worked")
	})
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			w.Header().Set("replica", os.Getenv("ADDR"))
			w.Write(body)
		}
	})
	listener, err := net.Listen("tcp", os.Getenv("ADDR"))
	if err != nil {
		log.Fatal(err)
	}
	terminated, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var server http.Server
	go server.Serve(listener)
	log.Printf("listening on %s", listener.Addr())
	<-terminated.Done()
	atMost, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := server.Shutdown(atMost); err != nil {
		log.Fatal(err)
	}
}
