// SPDX-License-Identifier: BSD-3-Clause
// Where a fuzzer's first inputs come from: valid values, encoded by the code under test.
#pragma once

#include <functional>
#include <string_view>

namespace caisson::fuzz {

// add(bytes): one more seed.
using AddSeed = std::function<void(std::string_view bytes)>;

void entry_seeds(const AddSeed& add);
void ring_seeds(const AddSeed& add);
void superblock_seeds(const AddSeed& add);
void slot_seeds(const AddSeed& add);
void manifest_seeds(const AddSeed& add);
void control_seeds(const AddSeed& add);
void batch_seeds(const AddSeed& add);
void config_seeds(const AddSeed& add);
void hosts_seeds(const AddSeed& add);
void express_seeds(const AddSeed& add);
void greeting_seeds(const AddSeed& add);
void client_seeds(const AddSeed& add);
void state_seeds(const AddSeed& add);
void salvage_seeds(const AddSeed& add);
void introduction_seeds(const AddSeed& add);
void introduction_frame_seeds(const AddSeed& add);
void check_region_seeds(const AddSeed& add);
void check_history_seeds(const AddSeed& add);

}  // namespace caisson::fuzz
