package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/replica"
)

// metrics are the metrics of the server, in a registry without the 200 or so of etcd.
type metrics struct {
	handler   http.Handler
	requests  *prometheus.HistogramVec
	commits   prometheus.Counter
	conflicts prometheus.Counter
	streams   *prometheus.GaugeVec
}

func newMetrics(r *replica.Replica) *metrics {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "overlane_http_request_seconds",
			Help:    "Requests by route and status; of a stream, how long it lasted.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8),
		}, []string{"route", "status"}),
		commits: prometheus.NewCounter(prometheus.CounterOpts{Name: "overlane_commits_total",
			Help: "Changes of intent committed."}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{Name: "overlane_commit_conflicts_total",
			Help: "Commits judged anew because another server committed first."}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "overlane_streams",
			Help: "Open streams: watch or view."}, []string{"kind"}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.requests, m.commits, m.conflicts, m.streams, objectCounts{r},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return m
}

func (m *metrics) observe(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
}

// stream counts a stream until the caller calls the returned function.
func (m *metrics) stream(kind string) (end func()) {
	g := m.streams.WithLabelValues(kind)
	g.Inc()
	return g.Dec
}

func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) error {
	s.metrics.handler.ServeHTTP(w, r)
	return nil
}

// objectCounts counts the objects when they are collected.
type objectCounts struct{ replica *replica.Replica }

var (
	objectsDesc  = prometheus.NewDesc("overlane_objects", "Objects of a kind.", []string{"kind"}, nil)
	revisionDesc = prometheus.NewDesc("overlane_store_revision", "Store revision that the server has seen.", nil, nil)
)

func (c objectCounts) Describe(d chan<- *prometheus.Desc) {
	d <- objectsDesc
	d <- revisionDesc
}

func (c objectCounts) Collect(m chan<- prometheus.Metric) {
	state, revision := c.replica.State(), c.replica.Revision()
	for _, k := range model.Kinds {
		m <- prometheus.MustNewConstMetric(objectsDesc, prometheus.GaugeValue, float64(state.Len(k.Name)), k.Name)
	}
	m <- prometheus.MustNewConstMetric(revisionDesc, prometheus.GaugeValue, float64(revision))
}
