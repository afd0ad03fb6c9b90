package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// client makes the calls of one face. Its funcs are for many goroutines, which
// say their numbers, so that each keeps to a connection.
type client struct {
	// unary makes a call of model whole, and checks that the answer is whole.
	unary func(ctx context.Context, worker int) error
	// stream makes a call of a model, tells when the first text has come, and
	// returns the bytes of text.
	stream func(ctx context.Context, worker int, model string, first func()) (int, error)
}

func newClient(face, address, key string, s settings) client {
	if face == faceGRPC {
		return grpcClient(address, key, s.connections)
	}
	return httpClient(address, key)
}

func grpcClient(address, key string, connections int) client {
	var stubs []weirv1.GenerationServiceClient
	for range connections {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			panic(err) // the address is ours
		}
		stubs = append(stubs, weirv1.NewGenerationServiceClient(conn))
	}
	request := func(model string) *weirv1.GenerateRequest {
		return &weirv1.GenerateRequest{Model: model, Messages: []*weirv1.Message{{
			Role: weirv1.Role_ROLE_USER, Parts: []*weirv1.Part{{Data: &weirv1.Part_Text{Text: prompt}}},
		}}}
	}
	with := func(ctx context.Context) context.Context {
		if key == "" {
			return ctx
		}
		return metadata.AppendToOutgoingContext(ctx, "x-api-key", key)
	}
	return client{
		unary: func(ctx context.Context, worker int) error {
			answer, err := stubs[worker%len(stubs)].Generate(with(ctx), request(whole))
			if err != nil {
				return err
			}
			return complete(len(answer.GetCandidates()[0].GetMessage().GetParts()[0].GetText()))
		},
		stream: func(ctx context.Context, worker int, model string, first func()) (text int, err error) {
			stream, err := stubs[worker%len(stubs)].StreamGenerate(with(ctx), request(model))
			if err != nil {
				return 0, err
			}
			for {
				event, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					return text, nil
				}
				if err != nil {
					return text, err
				}
				if said := event.GetDelta().GetText(); said != "" {
					if text == 0 {
						first()
					}
					text += len(said)
				}
			}
		},
	}
}

// pooled keeps the connections of many workers.
func pooled() *http.Transport {
	return &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096, DisableCompression: true, IdleConnTimeout: time.Minute}
}

func httpClient(address, key string) client {
	web := &http.Client{Transport: pooled()}
	post := func(ctx context.Context, model string, stream bool) (*http.Response, error) {
		body, err := json.Marshal(map[string]any{"model": model, "stream": stream, "messages": []any{map[string]string{"role": "user", "content": prompt}}})
		if err != nil {
			return nil, err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/v1/chat/completions", strings.NewReader(string(body)))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", "application/json")
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		answer, err := web.Do(r)
		if err == nil && answer.StatusCode != http.StatusOK {
			said, _ := io.ReadAll(io.LimitReader(answer.Body, 1000)) // what there is
			answer.Body.Close()
			return nil, fmt.Errorf("%s: %s", answer.Status, said)
		}
		return answer, err
	}
	return client{
		unary: func(ctx context.Context, _ int) error {
			answer, err := post(ctx, whole, false)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			said, err := io.ReadAll(answer.Body)
			if err != nil {
				return err
			}
			if !strings.Contains(string(said), reply) {
				return errors.New("the answer is not whole")
			}
			return nil
		},
		stream: func(ctx context.Context, _ int, model string, first func()) (text int, err error) {
			answer, err := post(ctx, model, true)
			if err != nil {
				return 0, err
			}
			defer answer.Body.Close()
			lines := bufio.NewScanner(answer.Body)
			for lines.Scan() {
				_, said, ok := strings.Cut(lines.Text(), `"content":"`)
				if !ok {
					continue
				}
				said, _, _ = strings.Cut(said, `"`) // no text of ours has one
				if said != "" && text == 0 {
					first()
				}
				text += len(said)
			}
			return text, lines.Err()
		},
	}
}

// complete tells whether an answer has all its text.
func complete(text int) error {
	if text != len(reply) {
		return fmt.Errorf("an answer has %d bytes of text, not %d", text, len(reply))
	}
	return nil
}
