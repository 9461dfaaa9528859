// SPDX-License-Identifier: BSD-3-Clause
#include "transport/shm/shm_endpoint.hpp"

#include "transport/shm/shm_endpoint_impl.hpp"

namespace caisson::transport::shm {

template class BasicShmEndpoint<NoProbe>;

}  // namespace caisson::transport::shm
