/* What a LoRA adapter's directory is: its shape, and the base that it names. */
#include "cli/facts.h"
#include "model/formats/adapter.h"

dm_status cli_info_adapter(cli_report *r, const char *dir, const char *base, dm_error *err)
{
    const char *targets[DM_PROJECTIONS];
    char hex[DM_SHA256_HEX];
    dm_source *source = NULL;
    dm_lora_options o;
    dm_lora lora = {0};
    size_t n = 0;
    dm_status s = dm_adapter_config(&o, NULL, dir, err);

    if (s == DM_OK && (s = dm_source_open_on(&source, dir, base, err)) == DM_OK &&
        (s = dm_lora_build(&lora, &o, dm_source_config(source), err)) == DM_OK)
        s = dm_source_sha256(source, hex, err);
    if (s == DM_OK) {
        for (dm_projection p = DM_PROJECTION_Q; p < DM_PROJECTIONS; p++)
            if (o.targets >> p & 1)
                targets[n++] = dm_projection_name(p);
        cli_report_string(r, "path", dir);
        cli_report_string(r, "form", "adapter");
        cli_report_string(r, "base", dm_source_path(source));
        cli_report_int(r, "rank", o.rank);
        cli_report_double(r, "alpha", o.alpha);
        cli_report_bool(r, "stabilised", o.stabilised);
        cli_report_list(r, "targets", targets, n);
        cli_report_int(r, "parameters", (int64_t)lora.layout.parameters);
        cli_report_string(r, "model_sha256", hex);
    }
    dm_lora_free(&lora);
    dm_source_close(&source);
    return s;
}
