package main

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/exporter"
	"go.uber.org/zap"
)

// The golden tests select a third party's bundle whose exporter is made up. This one is what that party would have: it
// takes what only the bundle's schema describes, and tells in the log what the collector made of it.
type acmeConfig struct {
	Token string         `mapstructure:"token"`
	Rest  map[string]any `mapstructure:",remain"`
}

type acme struct {
	component.ShutdownFunc
	consumertest.Consumer
	logger *zap.Logger
	config *acmeConfig
}

func (a acme) Start(context.Context, component.Host) error {
	a.logger.Info("acme is given", zap.String("token", a.config.Token), zap.Any("rest", a.config.Rest))
	return nil
}

func newAcme(set exporter.Settings, config component.Config) acme {
	return acme{Consumer: consumertest.NewNop(), logger: set.Logger, config: config.(*acmeConfig)}
}

func acmeExporter() exporter.Factory {
	return exporter.NewFactory(component.MustNewType("acme"), func() component.Config { return &acmeConfig{} },
		exporter.WithTraces(func(_ context.Context, set exporter.Settings, config component.Config) (exporter.Traces, error) {
			return newAcme(set, config), nil
		}, component.StabilityLevelDevelopment),
		exporter.WithMetrics(func(_ context.Context, set exporter.Settings, config component.Config) (exporter.Metrics, error) {
			return newAcme(set, config), nil
		}, component.StabilityLevelDevelopment),
		exporter.WithLogs(func(_ context.Context, set exporter.Settings, config component.Config) (exporter.Logs, error) {
			return newAcme(set, config), nil
		}, component.StabilityLevelDevelopment),
	)
}
