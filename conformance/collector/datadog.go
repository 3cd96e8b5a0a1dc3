package main

import (
	"context"
	"time"

	datadogconfig "github.com/open-telemetry/opentelemetry-collector-contrib/pkg/datadog/config"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/exporter"
)

// Datadog's exporter and connector pull in modules of the Datadog agent that no registry has, but their config package
// can be had. So these two factories decode, default and validate with Datadog's own code, report the same signals,
// and discard what they receive: they say nothing about delivery.

var datadogType = component.MustNewType("datadog")

type discard struct {
	component.StartFunc
	component.ShutdownFunc
	consumertest.Consumer
}

func newDiscard() discard { return discard{Consumer: consumertest.NewNop()} }

func datadogExporter() exporter.Factory {
	return exporter.NewFactory(datadogType, datadogconfig.CreateDefaultConfig,
		exporter.WithTraces(func(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Traces, error) {
			return newDiscard(), warn(set, cfg)
		}, component.StabilityLevelBeta),
		exporter.WithMetrics(func(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Metrics, error) {
			return newDiscard(), warn(set, cfg)
		}, component.StabilityLevelBeta),
		exporter.WithLogs(func(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Logs, error) {
			return newDiscard(), warn(set, cfg)
		}, component.StabilityLevelBeta),
	)
}

// warn logs what the config package has to say about renamed and removed settings, as the real exporter does.
func warn(set exporter.Settings, cfg component.Config) error {
	cfg.(*datadogconfig.Config).LogWarnings(set.Logger)
	return nil
}

func datadogConnector() connector.Factory {
	return connector.NewFactory(datadogType, datadogConnectorDefaults,
		connector.WithTracesToMetrics(func(context.Context, connector.Settings, component.Config, consumer.Metrics) (connector.Traces, error) {
			return newDiscard(), nil
		}, component.StabilityLevelBeta),
		connector.WithTracesToTraces(func(_ context.Context, _ connector.Settings, _ component.Config, next consumer.Traces) (connector.Traces, error) {
			return struct {
				component.StartFunc
				component.ShutdownFunc
				consumer.Traces
			}{Traces: next}, nil
		}, component.StabilityLevelBeta),
	)
}

// The config package has no defaults for the connector; these are those of the connector's own factory.
func datadogConnectorDefaults() component.Config {
	return &datadogconfig.ConnectorComponentConfig{
		Traces: datadogconfig.TracesConnectorConfig{
			TracesConfig: datadogconfig.TracesConfig{
				IgnoreResources:        []string{},
				PeerServiceAggregation: true,
				PeerTagsAggregation:    true,
				ComputeStatsBySpanKind: true,
			},
			TraceBuffer:    1000,
			BucketInterval: 10 * time.Second,
		},
	}
}
