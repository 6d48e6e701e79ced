package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	commonv1 "sigil-actors.dev/proto/common/v1"
	pluginv1 "sigil-actors.dev/proto/plugin/v1"
	hostv1 "sigil-actors.dev/proto/sigil/host/v1"
)

// arguments are what any of the tools may be given.
type arguments struct {
	Text       string  // for stdout, stderr and panic: what is written
	Lines      int     // for stdout and stderr: how many times
	Ms         int     // for sleep
	Bytes      int     // for big: of each chunk
	Chunks     int     // for big
	Capability string  // for hostcall and hostcheck
	Payload    string  // for hostcall
	Session    *string // for hostcall and hostcheck: instead of the call's own
	By         string  // for hostcall: "address" dials SIGIL_HOST_ADDRESS instead of the broker
	Leaves     bool    // for spawn: whether the child leaves the plugin's process group
}

// call is one execution of a tool.
type call struct {
	*server
	context.Context
	request *pluginv1.ExecuteRequest
	stream  grpc.ServerStreamingServer[pluginv1.ExecuteChunk]
	arguments
}

func (c *call) say(text string) error {
	return c.stream.Send(&pluginv1.ExecuteChunk{Chunk: &pluginv1.ExecuteChunk_Text{Text: text}})
}

func (c *call) sayJSON(value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return c.say(string(text))
}

// session is the token that host calls are made with.
func (c *call) session() string {
	if c.Session != nil {
		return *c.Session
	}
	return c.request.SessionId
}

var tools = map[string]func(*call) error{
	"echo":      func(c *call) error { return c.say(c.request.Arguments) },
	"stream":    func(c *call) error { return errors.Join(c.say("a"), c.say("b"), c.say("c")) },
	"error":     fail,
	"crash":     func(*call) error { os.Exit(3); return nil },
	"endless":   endless,
	"env":       func(c *call) error { env := os.Environ(); slices.Sort(env); return c.sayJSON(env) },
	"log":       logAll,
	"panic":     func(c *call) error { go panic(errors.New(c.Text)); select {} },
	"hostcall":  hostCall,
	"hostcheck": hostCheck,
	"stdout":    func(c *call) error { return write(c, os.Stdout) },
	"stderr":    func(c *call) error { return write(c, os.Stderr) },
	"sleep":     sleep,
	"big":       big,
	"spawn":     spawn,
	"told":      told,
	"undone":    func(c *call) error { return c.say("said") }, // its stream ends without `done`
	"status":    func(*call) error { return errors.New("no chunk, but a status") },
}

func (s *server) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	names := make([]string, 0, len(tools))
	for name := range tools {
		names = append(names, name)
	}
	slices.Sort(names)
	for number := 0; number < len(s.setting("more_tools")); number++ {
		names = append(names, fmt.Sprintf("more%d", number))
	}
	answer := &pluginv1.DescribeResponse{}
	for _, name := range names {
		answer.Tools = append(answer.Tools, &commonv1.ToolDefinition{
			Name:        name,
			Description: "The test tool " + name + s.setting("description"),
			InputSchema: &structpb.Struct{},
		})
	}
	return answer, nil
}

func (s *server) Execute(request *pluginv1.ExecuteRequest, stream grpc.ServerStreamingServer[pluginv1.ExecuteChunk]) error {
	tool, ok := tools[request.ToolName]
	if !ok {
		return stream.Send(&pluginv1.ExecuteChunk{Chunk: &pluginv1.ExecuteChunk_Error{Error: "no such tool"}})
	}
	c := &call{server: s, Context: stream.Context(), request: request, stream: stream}
	if err := json.Unmarshal([]byte(request.Arguments), &c.arguments); err != nil && request.ToolName != "echo" {
		return err
	}
	if err := tool(c); err != nil || request.ToolName == "undone" {
		return err
	}
	return stream.Send(&pluginv1.ExecuteChunk{Chunk: &pluginv1.ExecuteChunk_Done{Done: true}})
}

func fail(c *call) error {
	if err := c.say("so far"); err != nil {
		return err
	}
	return c.stream.Send(&pluginv1.ExecuteChunk{Chunk: &pluginv1.ExecuteChunk_Error{Error: "it went wrong"}})
}

func endless(c *call) error {
	if err := c.say("started"); err != nil {
		return err
	}
	<-c.Done()
	return c.Err()
}

func logAll(c *call) error {
	c.log.Trace("a trace", "n", 1)
	c.log.Debug("a debug", "n", 2)
	c.log.Info("an info", "text", "two words")
	c.log.Named("inner").Warn("a warning", "error", errors.New("why"))
	c.log.Error("an error", "list", []int{1, 2})
	return c.say("logged")
}

func write(c *call, file *os.File) error {
	for range max(c.Lines, 1) {
		fmt.Fprintln(file, c.Text)
	}
	return c.say("written")
}

func sleep(c *call) error {
	select {
	case <-time.After(time.Duration(c.Ms) * time.Millisecond):
		return c.say("slept")
	case <-c.Done():
		return c.Err()
	}
}

func big(c *call) error {
	for range max(c.Chunks, 1) {
		if err := c.say(strings.Repeat("x", c.Bytes)); err != nil {
			return err
		}
	}
	return nil
}

// spawn starts a child that outlives the call.
func spawn(c *call) error {
	child := exec.Command("/bin/sleep", "1000")
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: c.Leaves}
	if err := child.Start(); err != nil {
		return err
	}
	go child.Wait()
	return c.say(strconv.Itoa(child.Process.Pid))
}

// told says what came along with the call.
func told(c *call) error {
	headers, _ := metadata.FromIncomingContext(c)
	deadline, has := c.Deadline()
	answer := map[string]any{
		"session_id":      c.request.SessionId,
		"sigil_call":      headers.Get("sigil-call"),
		"timeout_seconds": c.request.TimeoutSeconds,
		"config":          c.config.AsMap(),
	}
	if has {
		answer["deadline_s"] = time.Until(deadline).Seconds()
	}
	return c.sayJSON(answer)
}

// reach gives a client of the host, over the broker or at its address.
func (c *call) reach() (hostv1.HostClient, error) {
	if c.By == "address" {
		connection, err := grpc.NewClient(
			os.Getenv("SIGIL_HOST_ADDRESS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		return hostv1.NewHostClient(connection), nil
	}
	<-c.dialed
	return c.host, c.noHost
}

func hostCall(c *call) error {
	host, err := c.reach()
	if err != nil {
		return err
	}
	answer, err := host.Call(c, &hostv1.CallRequest{
		Capability: c.Capability, Payload: []byte(c.Payload), SessionId: c.session(),
	})
	if err != nil {
		// As text, so that a test sees the status.
		return c.say(err.Error())
	}
	return c.say(string(answer.Payload))
}

func hostCheck(c *call) error {
	host, err := c.reach()
	if err != nil {
		return err
	}
	answer, err := host.Check(c, &hostv1.CheckRequest{Capability: c.Capability, SessionId: c.session()})
	if err != nil {
		return c.say(err.Error())
	}
	return c.say(fmt.Sprintf("%t %s", answer.Allowed, answer.Reason))
}
