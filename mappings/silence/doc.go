// Package silence takes out of rows what a started Open WebUI acts on by itself:
// timers, automations, calendar alerts, webhooks, connections. A copy of a
// deployment can then be started and looked at while the deployment itself goes
// on, and nothing is done twice.
//
// What acts, and what it looks for, was read in Open WebUI 0.12.4:
//
//   - timers (utils/timers.py, claim_due_timers): chat.timer_at is due and
//     chat.meta.status is "pending";
//   - automations (models/automations.py, claim_due): is_active, next_run_at is due;
//   - calendar alerts (models/calendar.py, get_upcoming_events, and
//     utils/automations.py): not is_cancelled, meta.alert_minutes is not negative,
//     meta.alerted_at is not start_at;
//   - webhooks of events (events.py): config events.webhooks, and the older
//     webhook_url, which is made one of them at the start;
//   - webhooks of users (utils/notifications.py): config ui.enable_user_webhooks,
//     user.settings.notifications.targets, and the older
//     notifications.webhook_url and ui.notifications.webhook_url;
//   - apps (socket/apps.py, reconcile): app.is_active;
//   - functions (events.py, dispatch_event_functions; utils/plugin.py): is_active. Those of
//     type event are called at system.startup.started, before SAFE_MODE is obeyed;
//   - tool and terminal servers (main.py, lifespan): config
//     tool_server.connections with config.enable, terminal_server.connections
//     with enabled.
//
// The scheduler itself runs always: no variable switches it off. What no row
// decides, the variables of [Environment] do.
package silence
