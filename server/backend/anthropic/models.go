package anthropic

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/weir-gateway/weir/server/backend"
)

// maxModelsBody is the most that is read of a page of models, and maxModels ends
// a list that goes on for ever.
const (
	maxModelsBody = 8 << 20
	maxModels     = 100_000
)

// modelsPage is one page of them.
// Source: anthropic-sdk-python @ 009b035 (7 Aug 2026), resources/models.py,
// types/model_list_params.py and pagination.py.
type modelsPage struct {
	Data []struct {
		ID string `json:"id"`
	} `json:"data"`
	HasMore bool   `json:"has_more"`
	LastID  string `json:"last_id"`
}

// Models implements backend.Lister.
func (b *Backend) Models(ctx context.Context) ([]string, error) {
	names := []string{}
	for query := "?limit=1000"; ; {
		page, err := b.modelsPage(ctx, query)
		if ended := ctx.Err(); err != nil && ended != nil {
			return nil, ended
		}
		if err != nil {
			return nil, err
		}
		for _, m := range page.Data {
			if m.ID != "" {
				names = append(names, m.ID)
			}
		}
		if !page.HasMore || page.LastID == "" || len(page.Data) == 0 || len(names) > maxModels {
			slices.Sort(names)
			return slices.Compact(names), nil
		}
		query = "?limit=1000&after_id=" + url.QueryEscape(page.LastID)
	}
}

func (b *Backend) modelsPage(ctx context.Context, query string) (page modelsPage, err error) {
	resp, err := b.client.Send(ctx, http.MethodGet, "/models"+query, nil, nil)
	if err != nil {
		return page, err
	}
	if resp.StatusCode != http.StatusOK {
		return page, b.client.Failure(resp)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxModelsBody)).Decode(&page); err != nil {
		return page, &backend.Error{Class: backend.Protocol, Status: resp.StatusCode, Detail: b.config.Name + ": list of models cannot be read", Err: err}
	}
	return page, nil
}
