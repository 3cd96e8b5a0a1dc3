package main

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"
)

// A stand-in, not the real thing: no registry has all modules of the awsxray exporter for this collector. It decodes
// the keys of the exporter's Config, which has no Validate, as the commits have them that
// tools/import-schemas/components/exporters/awsxray.yaml names, and discards what it receives. The real
// exporter is in the 0.120 collector.
func awsxrayExporter() exporter.Factory {
	return exporter.NewFactory(component.MustNewType("awsxray"),
		func() component.Config {
			return &awsxrayConfig{NumberOfWorkers: 8, RequestTimeoutSeconds: 30, MaxRetries: 2}
		},
		exporter.WithTraces(func(context.Context, exporter.Settings, component.Config) (exporter.Traces, error) {
			return newDiscard(), nil
		}, component.StabilityLevelBeta),
	)
}

type awsxrayConfig struct {
	NumberOfWorkers       int              `mapstructure:"num_workers"`
	Endpoint              string           `mapstructure:"endpoint"`
	RequestTimeoutSeconds int              `mapstructure:"request_timeout_seconds"`
	MaxRetries            int              `mapstructure:"max_retries"`
	SharedCredentialsFile []string         `mapstructure:"shared_credentials_file"`
	Profile               string           `mapstructure:"profile"`
	CertificateFilePath   string           `mapstructure:"certificate_file_path"`
	IMDSRetries           int              `mapstructure:"imds_retries"`
	NoVerifySSL           bool             `mapstructure:"no_verify_ssl"`
	ProxyAddress          string           `mapstructure:"proxy_address"`
	Region                string           `mapstructure:"region"`
	LocalMode             bool             `mapstructure:"local_mode"`
	ResourceARN           string           `mapstructure:"resource_arn"`
	RoleARN               string           `mapstructure:"role_arn"`
	ExternalID            string           `mapstructure:"external_id"`
	IndexedAttributes     []string         `mapstructure:"indexed_attributes"`
	IndexAllAttributes    bool             `mapstructure:"index_all_attributes"`
	LogGroupNames         []string         `mapstructure:"aws_log_groups"`
	Telemetry             awsxrayTelemetry `mapstructure:"telemetry,omitempty"`
}

type awsxrayTelemetry struct {
	Enabled         bool           `mapstructure:"enabled"`
	IncludeMetadata bool           `mapstructure:"include_metadata"`
	Contributors    []component.ID `mapstructure:"contributors,omitempty"`
	Hostname        string         `mapstructure:"hostname,omitempty"`
	InstanceID      string         `mapstructure:"instance_id,omitempty"`
	ResourceARN     string         `mapstructure:"resource_arn,omitempty"`
}
