// The addon of `make bench-framework` with the Go framework: two manifests, a kubeClient registration, one configuration.
// The same addon in Rust stands in tests/scenarios/benches/framework/addon.rs.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"open-cluster-management.io/addon-framework/pkg/addonfactory"
	"open-cluster-management.io/addon-framework/pkg/addonmanager"
	"open-cluster-management.io/addon-framework/pkg/agent"
	"open-cluster-management.io/addon-framework/pkg/utils"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	addonclient "open-cluster-management.io/api/client/addon/clientset/versioned"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

//go:embed manifests
var manifests embed.FS

func main() {
	name := flag.String("name", "bench", "name of the addon")
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of the hub")
	qps := flag.Float64("qps", -1, "requests per second of each client; no limit when negative, as ours has none; 0 is client-go's default, 5")
	flag.Parse()
	if err := run(*name, *kubeconfig, float32(*qps)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(name, kubeconfig string, qps float32) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = qps, 2*int(qps)
	addons, err := addonclient.NewForConfig(config)
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	getter := utils.NewAddOnDeploymentConfigGetter(addons)
	registration := &agent.RegistrationOption{
		CSRConfigurations: agent.KubeClientSignerConfigurations(name, name),
		CSRApproveCheck:   utils.DefaultCSRApprover(name),
		PermissionConfig:  permissions(kube),
		// Where the agent runs, as the configuration has it.
		AgentInstallNamespace: utils.AgentInstallNamespaceFromDeploymentConfigFunc(getter),
	}
	addon, err := addonfactory.NewAgentAddonFactory(name, manifests, "manifests").
		WithConfigGVRs(utils.AddOnDeploymentConfigGVR).
		WithGetValuesFuncs(
			func(*clusterv1.ManagedCluster, *addonv1alpha1.ManagedClusterAddOn) (addonfactory.Values, error) {
				return addonfactory.Values{"HubKubeConfigSecret": name + "-hub-kubeconfig"}, nil
			},
			addonfactory.GetAddOnDeploymentConfigValues(getter,
				addonfactory.ToAddOnDeploymentConfigValues, addonfactory.ToAddOnCustomizedVariableValues),
		).
		WithAgentRegistrationOption(registration).
		WithAgentInstallNamespace(utils.AgentInstallNamespaceFromDeploymentConfigFunc(getter)).
		WithAgentHealthProber(&agent.HealthProber{Type: agent.HealthProberTypeNone}).
		BuildTemplateAgentAddon()
	if err != nil {
		return err
	}
	manager, err := addonmanager.New(config)
	if err != nil {
		return err
	}
	if err := manager.AddAgent(addon); err != nil {
		return err
	}
	if err := manager.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// The agent may read ConfigMaps in its cluster's namespace.
func permissions(kube kubernetes.Interface) agent.PermissionConfigFunc {
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "bench-go-agent"},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch"},
		}},
	}
	return utils.NewRBACPermissionConfigBuilder(kube).BindKubeClientRole(role).Build()
}
