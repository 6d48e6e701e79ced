package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	commonv1 "sigil-actors.dev/proto/common/v1"
	pluginv1 "sigil-actors.dev/proto/plugin/v1"
)

// waiting is how many messages a listener may be behind; the tests send fewer.
const waiting = 64

func token(ctx context.Context) string {
	headers, _ := metadata.FromIncomingContext(ctx)
	for _, value := range headers.Get("sigil-call") {
		return value
	}
	return ""
}

func first(session string) *pluginv1.InboundMessage {
	return &pluginv1.InboundMessage{
		MessageId: "m1",
		ChannelId: "c1",
		Sender: &commonv1.UserIdentity{
			UserId: "u1", Platform: "contract", PlatformUserId: "4711", DisplayName: "Bób \U0001f600",
		},
		Content:  "Ünïcode \x00 \U0001f600\n",
		ThreadId: "t1",
		Media: []*pluginv1.MediaAttachment{{
			Url: "https://example.org/1.png", MimeType: "image/png", Filename: "1", SizeBytes: 1 << 40,
		}},
		Timestamp: timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)),
		Metadata:  map[string]string{"a": "1", "session": session},
	}
}

func (s *server) Start(_ *pluginv1.StartRequest, stream grpc.ServerStreamingServer[pluginv1.InboundMessage]) error {
	messages := make(chan *pluginv1.InboundMessage, waiting)
	s.mutex.Lock()
	s.listeners[messages] = struct{}{}
	s.mutex.Unlock()
	defer func() {
		s.mutex.Lock()
		delete(s.listeners, messages)
		s.mutex.Unlock()
	}()
	if err := stream.Send(first(token(stream.Context()))); err != nil {
		return err
	}
	for {
		select {
		case message := <-messages:
			if err := stream.Send(message); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (s *server) Send(ctx context.Context, request *pluginv1.SendRequest) (*pluginv1.SendResponse, error) {
	switch request.Content {
	case "refuse":
		return &pluginv1.SendResponse{Error: "it went wrong"}, nil
	case "crash":
		os.Exit(3)
	}
	id := "sent " + request.Content
	message := &pluginv1.InboundMessage{
		MessageId: id,
		ChannelId: request.ChannelId,
		Content:   request.Content,
		ThreadId:  request.ThreadId,
		Media:     request.Media,
		Metadata: map[string]string{
			"session":  token(ctx),
			"typing":   fmt.Sprint(request.TypingIndicator),
			"reply_to": request.ReplyToMessageId,
		},
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for listener := range s.listeners {
		select {
		case listener <- message:
		default:
		}
	}
	return &pluginv1.SendResponse{Ok: true, PlatformMessageId: id}, nil
}

func (s *server) UpdatePresence(context.Context, *pluginv1.PresenceRequest) (*pluginv1.PresenceResponse, error) {
	return &pluginv1.PresenceResponse{Ok: true}, nil
}

func (s *server) GetIdentity(ctx context.Context, request *pluginv1.GetIdentityRequest) (*commonv1.UserIdentity, error) {
	return &commonv1.UserIdentity{
		UserId:         token(ctx),
		Platform:       "contract",
		PlatformUserId: request.PlatformUserId,
		DisplayName:    "user " + request.PlatformUserId,
	}, nil
}
