package main

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/weir-gateway/weir/server/cache"
	"github.com/weir-gateway/weir/server/route"
)

// CacheConfig is the memory for answers of models that have a cache.
type CacheConfig struct {
	// Size is the most that all of them take; 64MiB where nothing is said.
	Size Size `yaml:"size"`
}

const defaultCacheSize = 64 << 20

func (c CacheConfig) size() int64 { return cmp.Or(int64(c.Size), defaultCacheSize) }

// ModelCacheConfig says which answers of a model are given again.
type ModelCacheConfig struct {
	TTL Duration `yaml:"ttl"`
	// Sampled takes in the answers to calls that set neither temperature 0 nor a
	// seed.
	Sampled bool `yaml:"sampled"`
	// ChargePercent is what a caller pays of what the answer would cost.
	ChargePercent int `yaml:"charge_percent"`
}

// maxCacheTTL keeps what is called a cache from becoming an archive.
const maxCacheTTL = 24 * time.Hour

// check returns the field that is wrong, and what is.
func (c *ModelCacheConfig) check() (field, problem string) {
	switch {
	case c == nil:
	case c.TTL == 0:
		return "ttl", "missing: say for how long an answer is given again, such as 10m, or leave cache out"
	case time.Duration(c.TTL) > maxCacheTTL:
		return "ttl", fmt.Sprintf("%s is too long: use at most %s", time.Duration(c.TTL), maxCacheTTL)
	case c.ChargePercent < 0 || c.ChargePercent > 100:
		return "charge_percent", fmt.Sprintf("want a whole number from 0 to 100, got %d", c.ChargePercent)
	}
	return "", ""
}

// route is the same for the router; no cache where it is nil.
func (c *ModelCacheConfig) route() route.Cache {
	if c == nil {
		return route.Cache{}
	}
	return route.Cache{TTL: time.Duration(c.TTL), Sampled: c.Sampled, ChargePercent: c.ChargePercent}
}

// Size is an amount of memory in bytes, written as 64MiB.
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if digits, is := strings.CutSuffix(string(text), unit); is {
			shift := 10 * (i + 1)
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			if err != nil || n < 1 || n > math.MaxInt64>>shift {
				break
			}
			*s = Size(n << shift)
			return nil
		}
	}
	return fmt.Errorf("%q is not a size: write it as 64MiB or 1GiB", text)
}

// watchCache tells how full the cache of answers is.
func watchCache(r prometheus.Registerer, c *cache.Cache) {
	f := promauto.With(r)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weir_cache_bytes", Help: "Memory that the cache of answers takes, about.",
	}, func() float64 { return float64(c.Stats().Bytes) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weir_cache_answers", Help: "Answers in the cache.",
	}, func() float64 { return float64(c.Stats().Answers) })
	f.NewCounterFunc(prometheus.CounterOpts{
		Name: "weir_cache_evictions_total", Help: "Answers that left the cache before their time, since others needed the room.",
	}, func() float64 { return float64(c.Stats().Evicted) })
}
